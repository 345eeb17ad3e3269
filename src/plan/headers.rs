//! Exact sizes of the model files that a plan writes, and what their steps will warn of, from headers
//! alone.

use std::collections::BTreeMap;

use super::layout::{CONVERT, Target, checkpoint_source};
use super::{Judgement, Plan, StepState, Verdict};
use crate::steps::{ErrorClass, PlannedModel, QuantizeSource, StepError, outline_source};

/// What the headers of models say.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// Each model file, by step number: of a file that is there already as it is, of others from
    /// the headers of what they are made from.
    pub files: BTreeMap<usize, PlannedModel>,
    /// The longest text that the models read, in tokens.
    pub context: Option<u64>,
    /// Why what they are made from cannot be read; the step that reads it would say the same.
    pub problem: Option<String>,
}

impl Plan {
    /// Looks at the headers of what the job's models are, or are made from.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`] if the manifest asks for what the headers show to be impossible;
    /// [`ErrorClass::Input`] if an importance matrix is damaged.
    pub(super) fn read_headers(
        &self,
        judgements: &[Judgement],
        runs: impl Fn(usize) -> bool,
    ) -> Result<Headers, StepError> {
        let mut headers = Headers::default();
        let mut to_write = Vec::new();
        let mut reads = false;
        for (step, judgement) in judgements.iter().enumerate() {
            let node = self.graph.node(step);
            match (&self.states[step], &judgement.verdict) {
                // An input is missing: nothing can be said.
                (_, Verdict::Blocked { .. }) => return Ok(headers),
                (StepState::Fresh(done), _) if node.destination.is_some() => {
                    let file = |bytes| PlannedModel { bytes, ..PlannedModel::default() };
                    let bytes = done.outputs.iter().map(|output| output.bytes).sum();
                    headers.files.insert(step, file(bytes));
                }
                _ if node.destination.is_some() => to_write.push((step, node)),
                _ => reads |= runs(step) && node.draft.longest_text().is_some(),
            }
        }
        // One look at the source serves all.
        let source = match (to_write.is_empty(), self.model(Target::Format(0))) {
            (false, _) => outline_source(&self.whole_source()),
            (true, Some(model)) if reads => {
                outline_source(&QuantizeSource::Gguf((&model.path).into()))
            }
            _ => return Ok(headers),
        };
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                headers.problem = Some(error.message);
                return Ok(headers);
            }
        };
        headers.context = source.metadata().context_length();
        for (step, node) in to_write {
            match node.draft.planned_model(&*source) {
                Ok(file) => headers.files.extend(file.map(|file| (step, file))),
                Err(error) if matches!(error.class, ErrorClass::Usage | ErrorClass::Input) => {
                    return Err(StepError::new(error.class, format!("{}: {error}", node.id)));
                }
                Err(_) => {}
            }
        }
        Ok(headers)
    }

    /// What every model file is made from: the converted file if it is there as it should be, or
    /// else the checkpoint, which looks as convert will write it.
    pub(super) fn whole_source(&self) -> QuantizeSource {
        match self.done(CONVERT).and_then(|done| done.outputs.first()) {
            Some(file) => QuantizeSource::Gguf((&file.path).into()),
            None => checkpoint_source(&self.job),
        }
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
