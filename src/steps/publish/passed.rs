//! Whether a format is published, by how its steps have ended. Knows nothing of files.

use crate::steps::Ended;

/// How a step has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Succeeded,
    Failed,
    /// It did not run.
    Skipped,
}

/// What becomes of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Its files are published, though something may have failed.
    Yes { although: Option<String> },
    /// Nothing of it is, and why.
    No(String),
}

/// What becomes of a format whose steps have ended so; `made` says whether it has files, `failed_too`
/// whether they are published although a step failed.
pub fn passed<'a>(
    steps: impl Iterator<Item = (&'a str, How)> + Clone,
    made: bool,
    failed_too: bool,
) -> Passed {
    let first = |wanted: How, words: &str| {
        let found = steps.clone().find(|(_, how)| *how == wanted);
        found.map(|(id, _)| format!("{id} {words}"))
    };
    let trouble = first(How::Failed, "failed").or_else(|| first(How::Skipped, "did not run"));
    match trouble {
        None if made => Passed::Yes { although: None },
        Some(trouble) if made && failed_too => Passed::Yes { although: Some(trouble) },
        trouble => Passed::No(trouble.unwrap_or_else(|| "it was not made".to_owned())),
    }
}

impl Ended {
    /// How the step has ended.
    pub fn how(&self) -> How {
        match (self.skipped, &self.failure) {
            (true, _) => How::Skipped,
            (false, Some(_)) => How::Failed,
            (false, None) => How::Succeeded,
        }
    }
}
