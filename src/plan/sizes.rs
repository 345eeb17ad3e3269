//! Exact sizes of the model files that a plan writes, from headers alone.

use std::collections::BTreeMap;

use super::graph::{Target, Task};
use super::{Judgement, Plan, StepState, Verdict};
use crate::gguf::{Layout, TensorSource};
use crate::steps::{ErrorClass, QuantizeSource, QuantizeSpec, StepError, open_source, quantize};

impl Plan {
    /// Bytes of each model file, by step number: of a file that is there already as it is, of
    /// others from the headers of what they are made from. A step is left out where those cannot
    /// be read; the step itself will say why.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`] if the manifest asks for what the headers show to be impossible;
    /// [`ErrorClass::Input`] if an importance matrix is damaged.
    pub(super) fn model_bytes(
        &self,
        judgements: &[Judgement],
    ) -> Result<BTreeMap<usize, u64>, StepError> {
        let mut sizes = BTreeMap::new();
        let mut to_write = Vec::new();
        for (step, judgement) in judgements.iter().enumerate() {
            let task = self.graph.node(step).task;
            match (&self.states[step], &judgement.verdict) {
                // An input is missing: nothing can be said.
                (_, Verdict::Blocked { .. }) => return Ok(sizes),
                (StepState::Fresh(done), _) if task.writes_model() => {
                    sizes.extend(done.outputs.first().map(|output| (step, output.bytes)));
                }
                _ if task.writes_model() => to_write.push((step, task)),
                _ => {}
            }
        }
        if to_write.is_empty() {
            return Ok(sizes);
        }
        // A vocabulary takes its time: one look at the source serves all.
        let Ok(source) = open_source(&self.source_to_measure()) else { return Ok(sizes) };
        for (step, task) in to_write {
            match self.bytes_to_write(&*source, task) {
                Ok(bytes) => sizes.extend(bytes.map(|bytes| (step, bytes))),
                Err(error) if matches!(error.class, ErrorClass::Usage | ErrorClass::Input) => {
                    let step = &self.graph.node(step).id;
                    return Err(StepError::new(error.class, format!("{step}: {error}")));
                }
                Err(_) => {}
            }
        }
        Ok(sizes)
    }

    /// What every model file is made from: the converted file if it is there as it should be, or
    /// else the checkpoint, which looks as convert will write it.
    fn source_to_measure(&self) -> QuantizeSource {
        match self.done(Task::Convert) {
            Some(_) => self.source(),
            None => self.checkpoint_source(),
        }
    }

    fn bytes_to_write(
        &self,
        source: &dyn TensorSource,
        task: Task,
    ) -> Result<Option<u64>, StepError> {
        Ok(match task {
            Task::Convert => Layout::new(source.metadata(), source.tensors())
                .ok()
                .map(|layout| layout.file_bytes()),
            Task::Quantize(target) => Some(self.quantized_bytes(source, target)?),
            _ => None,
        })
    }

    fn quantized_bytes(&self, source: &dyn TensorSource, target: Target) -> Result<u64, StepError> {
        let spec = QuantizeSpec {
            source: self.source(),
            format: self.format(target)?.clone(),
            native_mxfp4: self.job.quantize.native_mxfp4,
            fallback: self.job.quantize.fallback,
            out: super::names::model_template(&self.job, target).into(),
            force: false,
        };
        let plan = quantize::plan_source(source, &spec)?;
        match plan.refusal() {
            Some(problem) => Err(StepError::new(ErrorClass::Usage, problem)),
            None => Ok(plan.file_bytes),
        }
    }
}
