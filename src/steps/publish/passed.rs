//! Whether a format is published, by how its steps have ended. Knows nothing of files.

use crate::steps::Ended;

/// How a step has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
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
    steps: impl Iterator<Item = (&'a str, Ending)> + Clone,
    made: bool,
    failed_too: bool,
) -> Passed {
    let first = |wanted: Ending, words: &str| {
        let found = steps.clone().find(|(_, how)| *how == wanted);
        found.map(|(id, _)| format!("{id} {words}"))
    };
    let trouble = first(Ending::Failed, "failed").or_else(|| first(Ending::Skipped, "did not run"));
    match trouble {
        None if made => Passed::Yes { although: None },
        Some(trouble) if made && failed_too => Passed::Yes { although: Some(trouble) },
        trouble => Passed::No(trouble.unwrap_or_else(|| "it was not made".to_owned())),
    }
}

impl Ended {
    /// How the step has ended.
    pub fn ending(&self) -> Ending {
        match (self.skipped, &self.failure) {
            (true, _) => Ending::Skipped,
            (false, Some(_)) => Ending::Failed,
            (false, None) => Ending::Succeeded,
        }
    }
}
