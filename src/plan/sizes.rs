//! Exact sizes of the model files that a plan writes, from headers alone.

use std::collections::BTreeMap;

use super::graph::Task;
use super::{Judgement, Plan, StepState, Verdict};
use crate::steps::{
    ConvertSpec, ErrorClass, QuantizeSource, QuantizeSpec, StepError, convert, quantize,
};

impl Plan {
    /// Bytes of each model file, by step number: of a file that is there already as it is, of
    /// others from the headers of what they are made from. A step is left out where those cannot
    /// be read; the step itself will say why.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`] if the manifest asks for what the headers show to be impossible.
    pub(super) fn model_bytes(
        &self,
        judgements: &[Judgement],
    ) -> Result<BTreeMap<usize, u64>, StepError> {
        let mut sizes = BTreeMap::new();
        for (step, judgement) in judgements.iter().enumerate() {
            let bytes = match (&self.states[step], &judgement.verdict) {
                (StepState::Fresh(done), _) if self.graph.node(step).task.writes_model() => {
                    done.outputs.first().map(|output| output.bytes)
                }
                // An input is missing: nothing can be said.
                (_, Verdict::Blocked { .. }) => return Ok(sizes),
                _ => match self.bytes_to_write(self.graph.node(step).task) {
                    Ok(bytes) => bytes,
                    Err(error) if error.class == ErrorClass::Usage => {
                        let step = &self.graph.node(step).id;
                        return Err(StepError::new(error.class, format!("{step}: {error}")));
                    }
                    Err(_) => None,
                },
            };
            sizes.extend(bytes.map(|bytes| (step, bytes)));
        }
        Ok(sizes)
    }

    fn bytes_to_write(&self, task: Task) -> Result<Option<u64>, StepError> {
        let input = &self.job.input;
        let Some((_, out)) = self.destination(task) else { return Ok(None) };
        Ok(Some(match task {
            Task::Convert => convert::output_bytes(&ConvertSpec {
                checkpoint: input.checkpoint.clone(),
                tokenizer: input.tokenizer.clone(),
                dtype: self.job.convert.dtype,
                out: out.into(),
                force: false,
            })?,
            Task::Quantize(target) => {
                let converted = self.done(Task::Convert).and_then(|done| done.outputs.first());
                let source = match converted {
                    Some(file) => QuantizeSource::Gguf(file.path.clone()),
                    // What convert will write is what its source looks like now.
                    None => QuantizeSource::Checkpoint {
                        directory: input.checkpoint.clone(),
                        tokenizer: input.tokenizer.clone(),
                        dtype: self.job.convert.dtype,
                    },
                };
                quantize::plan(&QuantizeSpec {
                    source,
                    format: self.format(target)?.clone(),
                    native_mxfp4: self.job.quantize.native_mxfp4,
                    out: out.into(),
                    force: false,
                })?
                .file_bytes
            }
            _ => return Ok(None),
        }))
    }
}
