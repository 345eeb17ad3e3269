//! From a stale step to what a worker is told.

use camino::Utf8PathBuf;

use super::ingredients::Input;
use super::layout::{Target, VERIFY, maker};
use super::{FileFact, Plan, key, names};
use crate::files::{FileDigest, Stamp};
use crate::state::Ingredient;
use crate::steps::{StepError, StepSpec};

/// A step that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    pub spec: StepSpec,
    pub key: String,
    pub ingredients: Vec<Ingredient>,
    /// The files whose digests are among the ingredients, as they were when those were looked up.
    pub reads: Vec<Read>,
    /// Do it even if a success is recorded under its key.
    pub redo: bool,
}

/// A file that a step is going to read.
#[derive(Clone, Debug)]
pub struct Read {
    pub path: Utf8PathBuf,
    pub stamp: Stamp,
    /// Lower-case hexadecimal, where it is known.
    pub sha256: Option<String>,
}

impl Plan {
    /// What to hand to a worker for `step`, which is stale and ready.
    ///
    /// # Errors
    /// If something that it needs is missing.
    pub fn launch(&self, step: usize, now: jiff::Timestamp) -> Result<Launch, StepError> {
        let node = self.graph.node(step);
        // Before the judgement: a change right after it must show.
        let reads = self.reads(step);
        let judgement = self.judge(step)?;
        let ingredients = judgement.ingredients.ok_or_else(|| {
            StepError::input(format!(
                "{}: a file that it reads changed while the job ran; run again",
                node.id
            ))
        })?;
        // Of what depended on other steps it is known only now.
        if let Some(conflict) = self.conflict(step)? {
            return Err(StepError::usage(conflict));
        }
        let key = key::key(&ingredients);
        let mut spec = self.describe(step, now)?;
        let split = spec.is_split();
        if let Some(out) = spec.out() {
            out.path = self.output_name(&key, out.path.as_str(), split, now)?;
        }
        Ok(Launch {
            spec,
            key,
            ingredients,
            reads,
            // What verify finds is remembered per file; its record says nothing of files of now.
            redo: node.id == VERIFY || self.selection.forced.contains(&step),
        })
    }

    fn reads(&self, step: usize) -> Vec<Read> {
        let paths = |input| match input {
            Input::File { path, .. } => vec![path],
            Input::Output { step, .. } => {
                let outputs = self.done(&step).map_or(&[][..], |done| &done.outputs);
                outputs.iter().map(|output| output.path.clone()).collect()
            }
            Input::Release { format, .. } => self.release_paths(format),
            Input::Parameter { .. }
            | Input::Named { .. }
            | Input::Ended { .. }
            | Input::After(_) => Vec::new(),
        };
        // A file that cannot be looked at is the step's own error.
        let read = |path: Utf8PathBuf| {
            let stamp = Stamp::of(&path).ok()??;
            let sha256 = match self.file(&path) {
                Ok(FileFact::Known { sha256, .. }) => Some(sha256),
                _ => None,
            };
            Some(Read { path, stamp, sha256 })
        };
        self.inputs_of(step).into_iter().flat_map(paths).filter_map(read).collect()
    }

    /// The name under which a step writes: the one that it, or the same step of another manifest,
    /// had begun with when it was interrupted.
    fn output_name(
        &self,
        key: &str,
        template: &str,
        split: bool,
        now: jiff::Timestamp,
    ) -> Result<Utf8PathBuf, StepError> {
        let pending = self.state.as_ref().map_or(Ok(Vec::new()), |state| state.all_pending())?;
        let begun = pending.into_iter().filter(|pending| pending.key == key);
        let begun = begun.flat_map(|pending| pending.outputs);
        let mut begun = begun.map(|path| names::named_after(&path, split));
        let found = begun.find(|path| names::matches(template, path));
        Ok(found.unwrap_or_else(|| names::expand(template, now)))
    }

    /// The file of a target, or the first of its parts, once it is there.
    pub(super) fn model(&self, target: Target) -> Option<&FileDigest> {
        self.done(&maker(&self.job, target))?.outputs.first()
    }
}
