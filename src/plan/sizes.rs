//! Exact sizes of the model files that a plan writes, and what their steps will warn of, from headers
//! alone.

use std::collections::BTreeMap;

use super::graph::{Target, Task};
use super::{Judgement, Plan, StepState, Verdict};
use crate::gguf::{Layout, TensorSource};
use crate::steps::{
    ErrorClass, QuantizeSource, QuantizeSpec, StepError, open_source, quantize, source_warnings,
};

/// A model file that a plan has or writes.
#[derive(Clone, Debug)]
pub(super) struct ModelFile {
    pub bytes: u64,
    /// What the step that writes it will warn of; empty where it is written already.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Each model file, by step number: of a file that is there already as it is, of
    /// others from the headers of what they are made from. A step is left out where those cannot
    /// be read; the step itself will say why.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`] if the manifest asks for what the headers show to be impossible;
    /// [`ErrorClass::Input`] if an importance matrix is damaged.
    pub(super) fn model_files(
        &self,
        judgements: &[Judgement],
    ) -> Result<BTreeMap<usize, ModelFile>, StepError> {
        let mut files = BTreeMap::new();
        let mut to_write = Vec::new();
        for (step, judgement) in judgements.iter().enumerate() {
            let task = self.graph.node(step).task;
            match (&self.states[step], &judgement.verdict) {
                // An input is missing: nothing can be said.
                (_, Verdict::Blocked { .. }) => return Ok(files),
                (StepState::Fresh(done), _) if task.writes_model() => {
                    let file = |bytes| ModelFile { bytes, warnings: Vec::new() };
                    files.extend(done.outputs.first().map(|output| (step, file(output.bytes))));
                }
                _ if task.writes_model() => to_write.push((step, task)),
                _ => {}
            }
        }
        if to_write.is_empty() {
            return Ok(files);
        }
        // A vocabulary takes its time: one look at the source serves all.
        let Ok(source) = open_source(&self.source_to_measure()) else { return Ok(files) };
        for (step, task) in to_write {
            match self.file_to_write(&*source, task) {
                Ok(file) => files.extend(file.map(|file| (step, file))),
                Err(error) if matches!(error.class, ErrorClass::Usage | ErrorClass::Input) => {
                    let step = &self.graph.node(step).id;
                    return Err(StepError::new(error.class, format!("{step}: {error}")));
                }
                Err(_) => {}
            }
        }
        Ok(files)
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
            out: super::names::model_template(&self.job, target).into(),
            split: None,
            force: false,
        };
        let plan = quantize::plan_source(source, &spec)?;
        match plan.refusal() {
            Some(problem) => Err(StepError::new(ErrorClass::Usage, problem)),
            None => Ok(ModelFile { bytes: plan.file_bytes, warnings: plan.warnings }),
        }
    }
}
