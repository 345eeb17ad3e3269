//! Exact sizes of the model files that a plan writes, and what their steps will warn of, from headers
//! alone.

use std::collections::BTreeMap;

use super::estimate::{Load, Quantizer};
use super::graph::{Target, Task};
use super::{Judgement, Plan, StepState, Verdict};
use crate::gguf::{Layout, TensorInfo, TensorSource};
use crate::steps::quantize::{PlannedTensor, QuantizePlan};
use crate::steps::{
    ErrorClass, QuantizeSource, QuantizeSpec, StepError, outline_source, quantize, source_warnings,
};

/// A model file that a plan has or writes.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelFile {
    pub bytes: u64,
    /// What it makes a machine do, where it is still to be written.
    pub load: Option<Load>,
    /// Weights that are dequantized to write it.
    pub dequantize: u64,
    /// Weights that are quantized to write it.
    pub quantize: BTreeMap<Quantizer, u64>,
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
                    let file = |bytes| ModelFile { bytes, ..ModelFile::default() };
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
    pub(super) fn source_to_measure(&self) -> QuantizeSource {
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
                .map(|bytes| ModelFile {
                    bytes,
                    load: Load::of(source.metadata(), source.tensors()),
                    dequantize: source.tensors().iter().map(TensorInfo::elements).sum(),
                    warnings: source_warnings(source),
                    ..ModelFile::default()
                }),
            Task::Quantize(target) => Some(self.quantized(source, target)?),
            _ => None,
        })
    }

    fn quantized(&self, source: &dyn TensorSource, target: Target) -> Result<ModelFile, StepError> {
        let plan = quantize::plan_source(source, &self.quantize_spec(target)?)?;
        match plan.refusal() {
            Some(problem) => Err(StepError::new(ErrorClass::Usage, problem)),
            None => Ok(to_write(source, plan)),
        }
    }

    /// How `target` would be quantized, its time and its inputs' digests left open.
    pub(super) fn quantize_spec(&self, target: Target) -> Result<QuantizeSpec, StepError> {
        Ok(QuantizeSpec {
            source: self.source(),
            format: self.format(target)?.clone(),
            native_mxfp4: self.job.quantize.native_mxfp4,
            fallback: self.job.quantize.fallback,
            provenance: self.provenance(),
            out: super::names::model_template(&self.job, target).into(),
            split: self.job.quantize.split,
            force: false,
        })
    }
}

/// What is to be said of a file that quantize would write.
fn to_write(source: &dyn TensorSource, plan: QuantizePlan) -> ModelFile {
    let info = |t: &PlannedTensor| TensorInfo::new(t.name.as_str(), t.ggml_type, t.shape.clone());
    let infos: Vec<TensorInfo> = plan.tensors.iter().map(info).collect();
    let mut file = ModelFile {
        bytes: plan.file_bytes,
        load: Load::of(source.metadata(), &infos),
        warnings: plan.warnings,
        ..ModelFile::default()
    };
    // The others are copied.
    let changed = plan.tensors.iter().zip(&infos).filter(|(t, _)| t.from != t.ggml_type);
    for (tensor, info) in changed {
        file.dequantize += info.elements();
        if let Some(ty) = tensor.ggml_type.computable() {
            *file.quantize.entry((ty, tensor.uses_importance)).or_default() += info.elements();
        }
    }
    file
}

#[cfg(test)]
#[path = "size_tests.rs"]
mod tests;
