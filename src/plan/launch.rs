//! From a stale step to what a worker is told.

use camino::Utf8PathBuf;

use super::graph::{Target, Task};
use super::ingredients::{Input, inputs};
use super::{Plan, key, names};
use crate::files::{FileDigest, Stamp};
use crate::state::Ingredient;
use crate::steps::{ErrorClass, StepError, StepSpec};

/// A step that is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    pub spec: StepSpec,
    pub key: String,
    pub ingredients: Vec<Ingredient>,
    /// The files whose digests are among the ingredients, as they were when those were looked up.
    pub reads: Vec<(Utf8PathBuf, Stamp)>,
    /// Do it even if a success is recorded under its key.
    pub redo: bool,
}

impl Plan {
    /// What to hand to a worker for `step`, which is stale and ready.
    ///
    /// # Errors
    /// If something that it needs is missing.
    pub fn launch(&self, step: usize, now: jiff::Timestamp) -> Result<Launch, StepError> {
        let node = self.graph.node(step);
        // Before the judgement: a change right after it must show.
        let reads = self.reads(node.task);
        let judgement = self.judge(step)?;
        let ingredients = judgement.ingredients.ok_or_else(|| {
            StepError::new(
                ErrorClass::Input,
                format!("{}: a file that it reads changed while the job ran; run again", node.id),
            )
        })?;
        // Of what depended on other steps it is known only now.
        if let Some(conflict) = self.conflict(step)? {
            return Err(StepError::new(ErrorClass::Usage, conflict));
        }
        let key = key::key(&ingredients);
        let out = match self.destination(node.task) {
            Some((_, template)) => Some(self.output_name(node.task, &key, &template, now)?),
            None => None,
        };
        Ok(Launch {
            spec: self.spec(node.task, out, now)?,
            key,
            ingredients,
            reads,
            // What verify finds is remembered per file; its record says nothing of files of now.
            redo: node.task == Task::Verify || self.selection.forced.contains(&step),
        })
    }

    fn reads(&self, task: Task) -> Vec<(Utf8PathBuf, Stamp)> {
        let paths = |input| match input {
            Input::File { path, .. } => vec![path],
            Input::Output(task) => {
                let outputs = self.done(task).map_or(&[][..], |done| &done.outputs);
                outputs.iter().map(|output| output.path.clone()).collect()
            }
            Input::Published(format) => self.published_paths(format),
            Input::Parameter { .. }
            | Input::Named { .. }
            | Input::ResultOrFailure(_)
            | Input::After(_) => Vec::new(),
        };
        let all = inputs(&self.job, &self.inputs, &self.machine, task);
        // A file that cannot be looked at is the step's own error.
        let stamped = |path: Utf8PathBuf| {
            let stamp = Stamp::of(&path).ok()??;
            Some((path, stamp))
        };
        all.into_iter().flat_map(paths).filter_map(stamped).collect()
    }

    /// The name under which a step writes: the one that it, or the same step of another manifest,
    /// had begun with when it was interrupted.
    fn output_name(
        &self,
        task: Task,
        key: &str,
        template: &str,
        now: jiff::Timestamp,
    ) -> Result<Utf8PathBuf, StepError> {
        let pending = self.state.as_ref().map_or(Ok(Vec::new()), |state| state.all_pending())?;
        let begun = pending.into_iter().filter(|pending| pending.key == key);
        let split = self.is_split(task);
        let begun = begun.flat_map(|pending| pending.outputs);
        let mut begun = begun.map(|path| names::named_after(&path, split));
        let found = begun.find(|path| names::matches(template, path));
        Ok(found.unwrap_or_else(|| names::expand(template, now)))
    }

    /// Whether `task` writes parts.
    pub(super) fn is_split(&self, task: Task) -> bool {
        matches!(task, Task::Quantize(_)) && self.job.quantize.split.is_some()
    }

    /// The file of a target, or the first of its parts, once it is there.
    pub(super) fn model(&self, target: Target) -> Option<&FileDigest> {
        self.done(Task::Quantize(target))?.outputs.first()
    }
}
