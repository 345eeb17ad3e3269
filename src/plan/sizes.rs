//! Exact sizes of the model files that a plan writes, and what their steps will warn of, from headers
//! alone.

use std::collections::BTreeMap;

use super::graph::{Target, Task};
use super::{Judgement, Plan, StepState, Verdict};
use crate::gguf::{Layout, TensorSource};
use crate::steps::{
    ErrorClass, QuantizeSource, QuantizeSpec, StepError, outline_source, quantize, source_warnings,
};

/// A model file that a plan has or writes.
#[derive(Clone, Debug)]
pub(super) struct ModelFile {
    pub bytes: u64,
    /// What the step that writes it will warn of; empty where it is written already.
    pub warnings: Vec<String>,
}

/// What the headers of models say.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Each model file, by step number: of a file that is there already as it is, of others from
    /// the headers of what they are made from.
    pub files: BTreeMap<usize, ModelFile>,
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
    pub(super) fn measure_models(
        &self,
        judgements: &[Judgement],
        runs: impl Fn(usize) -> bool,
    ) -> Result<Measured, StepError> {
        let mut measured = Measured::default();
        let mut to_write = Vec::new();
        let mut reads = false;
        for (step, judgement) in judgements.iter().enumerate() {
            let task = self.graph.node(step).task;
            match (&self.states[step], &judgement.verdict) {
                // An input is missing: nothing can be said.
                (_, Verdict::Blocked { .. }) => return Ok(measured),
                (StepState::Fresh(done), _) if task.writes_model() => {
                    let file = |bytes| ModelFile { bytes, warnings: Vec::new() };
                    let bytes = done.outputs.iter().map(|output| output.bytes).sum();
                    measured.files.insert(step, file(bytes));
                }
                _ if task.writes_model() => to_write.push((step, task)),
                _ => {
                    reads |= runs(step)
                        && matches!(
                            task,
                            Task::Bench(_) | Task::Evaluate(_) | Task::Compare { .. }
                        );
                }
            }
        }
        // One look at the source serves all.
        let source = match (to_write.is_empty(), self.model(Target::Format(0))) {
            (false, _) => outline_source(&self.source_to_measure()),
            (true, Some(model)) if reads => {
                outline_source(&QuantizeSource::Gguf(model.path.clone()))
            }
            _ => return Ok(measured),
        };
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                measured.problem = Some(error.message);
                return Ok(measured);
            }
        };
        measured.context = source.metadata().context_length();
        for (step, task) in to_write {
            match self.file_to_write(&*source, task) {
                Ok(file) => measured.files.extend(file.map(|file| (step, file))),
                Err(error) if matches!(error.class, ErrorClass::Usage | ErrorClass::Input) => {
                    let step = &self.graph.node(step).id;
                    return Err(StepError::new(error.class, format!("{step}: {error}")));
                }
                Err(_) => {}
            }
        }
        Ok(measured)
    }

    /// What every model file is made from: the converted file if it is there as it should be, or
    /// else the checkpoint, which looks as convert will write it.
    fn source_to_measure(&self) -> QuantizeSource {
        match self.done(Task::Convert) {
            Some(_) => self.source(),
            None => self.checkpoint_source(),
        }
    }

    fn file_to_write(
        &self,
        source: &dyn TensorSource,
        task: Task,
    ) -> Result<Option<ModelFile>, StepError> {
        Ok(match task {
            Task::Convert => Layout::new(source.metadata(), source.tensors())
                .ok()
                .map(|layout| layout.file_bytes())
                .map(|bytes| ModelFile { bytes, warnings: source_warnings(source) }),
            Task::Quantize(target) => Some(self.quantized(source, target)?),
            _ => None,
        })
    }

    fn quantized(&self, source: &dyn TensorSource, target: Target) -> Result<ModelFile, StepError> {
        let spec = QuantizeSpec {
            source: self.source(),
            format: self.format(target)?.clone(),
            native_mxfp4: self.job.quantize.native_mxfp4,
            fallback: self.job.quantize.fallback,
            provenance: self.provenance(),
            out: super::names::model_template(&self.job, target).into(),
            split: self.job.quantize.split,
            force: false,
        };
        let plan = quantize::plan_source(source, &spec)?;
        match plan.refusal() {
            Some(problem) => Err(StepError::new(ErrorClass::Usage, problem)),
            None => Ok(ModelFile { bytes: plan.file_bytes, warnings: plan.warnings }),
        }
    }
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;
