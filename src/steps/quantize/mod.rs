//! Quantize: writes a model with the types that a format's mix and its rules choose. The tensors
//! are in llama-quantize's order, so that not only each tensor but the whole file is what
//! llama-quantize writes.

mod chosen;
mod copied;
mod facts;
mod fallback;
mod importance;
mod provenance;
mod rules;
mod spec;
mod survey;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::model_source::{identity, open_source, outline_source, refuse_own_input, weight_files};
use super::write_model::{FLUSH_BYTES, NewFile, NewModel, infos, write_all};
use super::{Context, Level, StepError, UsedImatrix, WriteResult};
use crate::ggml::StoredType;
use crate::gguf::{TensorSource, bits_per_weight};
use chosen::Chosen;
use importance::{Digests, Weighing};
pub use provenance::input_files;
pub use spec::{
    FormatSpec, ImatrixFile, NativeMxfp4, OnFallback, Provenance, QuantizeSpec, TensorRule,
};

/// What quantize would write.
#[derive(Clone, Debug, Serialize)]
pub struct QuantizePlan {
    /// In file order.
    pub tensors: Vec<PlannedTensor>,
    /// Length of the file, or of all its parts.
    pub file_bytes: u64,
    /// The parts in order, where it would be written in parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PlannedPart>,
    pub bits_per_weight: f64,
    /// The importance matrix, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imatrix: Option<UsedImatrix>,
    /// What the step would warn of.
    pub warnings: Vec<String>,
    /// Why the step would be refused, in words; `None` where it would not.
    pub problem: Option<String>,
    /// What an importance matrix is missing for, in words: without one the step is refused, though
    /// all that is planned here stays true of a file that is made with one, but for a few types that
    /// depend on whether there is one. `None` where there is one or none is needed.
    pub needs_imatrix: Option<String>,
}

impl QuantizePlan {
    /// Why the step itself would be refused now.
    pub fn refusal(&self) -> Option<&String> {
        self.problem.as_ref().or(self.needs_imatrix.as_ref())
    }
}

/// One file of a [`QuantizePlan`] in parts.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedPart {
    pub path: Utf8PathBuf,
    pub tensors: usize,
    /// Length of the file.
    pub bytes: u64,
}

/// One tensor of a [`QuantizePlan`].
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTensor {
    pub name: String,
    /// Dimensions, fastest first.
    pub shape: Vec<u64>,
    pub from: StoredType,
    #[serde(rename = "type")]
    pub ggml_type: StoredType,
    pub bytes: u64,
    /// Why it gets this type, in words.
    pub why: String,
    /// Whether an importance matrix weighs its columns.
    pub uses_importance: bool,
    /// Whether it would be garbage for want of an importance matrix, or of an entry in the one given.
    pub lacks_importance: bool,
}

/// Does the step.
///
/// # Errors
/// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if the format makes no sense, needs an
/// importance matrix that is not given or is not of this model, or the output is there already;
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if the source or the matrix is not what
/// it should be or has values that are not finite;
/// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if the file cannot be written.
pub fn run(spec: &QuantizeSpec, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
    // One file in, one result out.
    run_all(&[(spec, ctx)]).remove(0)
}

/// Writes several formats in one pass over the source, which is the first's: it is read and
/// dequantized once, and what two formats want in the same type, weighed by the same matrix, is
/// quantized once. The files are those that [`run`] writes one by one, and so are their errors; but
/// with one that comes while they are written none of them is finished.
pub fn run_all(steps: &[(&QuantizeSpec, &Context<'_>)]) -> Vec<Result<WriteResult, StepError>> {
    let Some((first, _)) = steps.first() else { return Vec::new() };
    let source = match open_source(&first.source) {
        Ok(source) => source,
        Err(error) => return steps.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut known = Shared::default();
    let ready = steps.iter().map(|(spec, ctx)| Ready::new(spec, &*source, &mut known, ctx));
    let ready: Vec<_> = ready.collect();
    let written = {
        let able =
            || ready.iter().zip(steps).filter_map(|(r, step)| Some((r.as_ref().ok()?, step)));
        // Formats with the same matrix have to have the same reference to it.
        let matrix = |own: &QuantizeSpec| {
            let same = able().find(|(_, (spec, _))| spec.format.imatrix == own.format.imatrix);
            same.and_then(|(ready, _)| ready.chosen.matrix.as_ref())
        };
        let identities: Vec<_> = able().map(|(ready, _)| || identity(&ready.inputs)).collect();
        let files = able().zip(&identities).map(|((ready, (spec, ctx)), identity)| NewModel {
            source: &*source,
            metadata: &ready.chosen.metadata,
            tensors: &ready.chosen.tensors,
            out: &spec.out,
            split: spec.split,
            replace: spec.out.replace,
            identity,
            importance: matrix(spec),
            hash_tensors: spec.hash_tensors,
            flush_bytes: FLUSH_BYTES,
            ctx,
        });
        write_all(&files.collect::<Vec<_>>())
    };
    let mut written = written.into_iter();
    let result = |ready: Result<Ready, StepError>| {
        let imatrix = ready?.imatrix;
        let lost = || StepError::bug("a model was not written");
        Ok(WriteResult { imatrix, ..written.next().ok_or_else(lost)?? })
    };
    ready.into_iter().map(result).collect()
}

/// What is found out once for all formats.
#[derive(Default)]
struct Shared {
    /// Of importance matrices.
    digests: Digests,
    /// Of what the source is made from: one source, one reading of it.
    inputs: Option<BTreeMap<String, String>>,
}

/// A format of which all is known before anything is written.
struct Ready {
    chosen: Chosen,
    /// The files that are read.
    inputs: Vec<Utf8PathBuf>,
    imatrix: Option<UsedImatrix>,
}

impl Ready {
    fn new(
        spec: &QuantizeSpec,
        source: &dyn TensorSource,
        known: &mut Shared,
        ctx: &Context<'_>,
    ) -> Result<Self, StepError> {
        let mut inputs = weight_files(&spec.source)?;
        inputs.extend(spec.format.imatrix.as_ref().map(|file| file.path.path.clone()));
        let mut chosen = Chosen::new(spec, source)?;
        for file in chosen.files(spec, source)? {
            refuse_own_input(&inputs, &file.path)?;
        }
        if let Some(problem) = chosen.problem.as_ref().or(chosen.needs_imatrix.as_ref()) {
            return Err(StepError::usage(problem));
        }
        let imatrix = chosen.used_imatrix(spec, &mut known.digests);
        if let Some(imatrix) = &imatrix {
            ctx.log(Level::Info, format!("importance matrix {imatrix}"));
        }
        if let Some(provenance) = &spec.provenance {
            let hashed = match known.inputs.take() {
                Some(hashed) => hashed,
                None => provenance::inputs(provenance, ctx)?,
            };
            known.inputs = Some(hashed.clone());
            provenance::set(&mut chosen.metadata, spec, provenance, hashed, imatrix.as_ref());
        }
        chosen.tell(source, ctx);
        Ok(Self { chosen, inputs, imatrix })
    }
}

/// The names of the files that the step writes; reads headers only.
///
/// # Errors
/// As [`plan`].
pub fn output_paths(spec: &QuantizeSpec) -> Result<Vec<Utf8PathBuf>, StepError> {
    if spec.split.is_none() {
        return Ok(vec![spec.out.path.clone()]);
    }
    let source = outline_source(&spec.source)?;
    let files = Chosen::new(spec, &*source)?.files(spec, &*source)?;
    Ok(files.into_iter().map(|file| file.path).collect())
}

/// What the step would write; reads headers only.
///
/// # Errors
/// As [`run`], as far as headers tell; but what the choice of types shows to be impossible is the
/// plan's [`refusal`](QuantizePlan::refusal).
pub fn plan(spec: &QuantizeSpec) -> Result<QuantizePlan, StepError> {
    let source = outline_source(&spec.source)?;
    let chosen = Chosen::new(spec, &*source)?;
    let imatrix = chosen.used_imatrix(spec, &mut Digests::new());
    Ok(QuantizePlan { imatrix, ..planned(&*source, spec, chosen)? })
}

/// [`plan`] with the source opened already; the one that `spec` names is not looked at, nor is an
/// importance matrix hashed.
///
/// # Errors
/// As [`plan`].
pub fn plan_source(
    source: &dyn TensorSource,
    spec: &QuantizeSpec,
) -> Result<QuantizePlan, StepError> {
    let chosen = Chosen::new(spec, source)?;
    planned(source, spec, chosen)
}

fn planned(
    source: &dyn TensorSource,
    spec: &QuantizeSpec,
    chosen: Chosen,
) -> Result<QuantizePlan, StepError> {
    let infos = infos(source, &chosen.tensors);
    let files = chosen.files(spec, source)?;
    let planned = |file: &NewFile| PlannedPart {
        path: file.path.clone(),
        tensors: file.tensors.len(),
        bytes: file.layout.file_bytes(),
    };
    let parts: Vec<PlannedPart> = files.iter().map(planned).collect();
    let bits_per_weight = bits_per_weight(&infos);
    let tensors = infos.into_iter().zip(&chosen.tensors).map(|(info, tensor)| PlannedTensor {
        bytes: info.bytes(),
        from: source.tensors()[tensor.source].ggml_type,
        name: info.name.to_string(),
        shape: info.shape,
        ggml_type: info.ggml_type,
        why: chosen.why[tensor.source].clone(),
        uses_importance: chosen.importance[tensor.source] == Weighing::Used,
        lacks_importance: chosen.importance[tensor.source] == Weighing::MissingAndNeeded,
    });
    Ok(QuantizePlan {
        tensors: tensors.collect(),
        file_bytes: parts.iter().map(|part| part.bytes).sum(),
        parts: if spec.split.is_some() { parts } else { Vec::new() },
        bits_per_weight,
        imatrix: None,
        warnings: chosen.warnings,
        problem: chosen.problem,
        needs_imatrix: chosen.needs_imatrix,
    })
}

#[cfg(test)]
mod tests;
