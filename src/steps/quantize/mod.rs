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

use camino::Utf8PathBuf;
use serde::Serialize;

use super::model_source::{identity, open_source, outline_source, refuse_own_input, weight_files};
use super::write_model::{FLUSH_BYTES, ModelFile, PlannedFile, infos, write_all};
use super::{Context, ErrorClass, Level, StepError, UsedImatrix, WriteResult};
use crate::ggml::StoredType;
use crate::gguf::{TensorSource, bits_per_weight};
use chosen::Chosen;
use importance::{Digests, Importance};
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
/// [`ErrorClass::Usage`] if the format makes no sense, needs an importance matrix that is not given
/// or is not of this model, or the output is there already; [`ErrorClass::Input`] if the source or
/// the matrix is not what it should be or has values that are not finite;
/// [`ErrorClass::Host`] if the file cannot be written.
pub fn run(spec: &QuantizeSpec, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
    // One file in, one result out.
    run_all(std::slice::from_ref(spec), ctx).map(|mut results| results.remove(0))
}

/// Writes several formats, at least one, in one pass over the source, which is the first's: it is
/// read and dequantized once, and what two formats want in the same type, weighed by the same
/// matrix, is quantized once. The files are those that [`run`] writes one by one.
///
/// # Errors
/// As [`run`]; no file is finished then.
pub fn run_all(specs: &[QuantizeSpec], ctx: &Context<'_>) -> Result<Vec<WriteResult>, StepError> {
    let from = &specs[0].source;
    let source = open_source(from)?;
    let (mut chosen, mut identities, mut used) = (Vec::new(), Vec::new(), Vec::new());
    let (mut digests, mut hashed) = (Digests::new(), None);
    for spec in specs {
        let mut inputs = weight_files(from)?;
        inputs.extend(spec.format.imatrix.as_ref().map(|file| file.path.path.clone()));
        let mut next = Chosen::new(spec, &*source)?;
        for file in next.files(spec, &*source)? {
            refuse_own_input(&inputs, &file.path)?;
        }
        if let Some(problem) = next.problem.as_ref().or(next.needs_imatrix.as_ref()) {
            return Err(StepError::new(ErrorClass::Usage, problem));
        }
        let imatrix = next.used_imatrix(spec, &mut digests);
        if let Some(imatrix) = &imatrix {
            ctx.log(Level::Info, format!("importance matrix {imatrix}"));
        }
        if let Some(provenance) = &spec.provenance {
            // One source, one reading of it.
            let inputs = match hashed.take() {
                Some(inputs) => inputs,
                None => provenance::inputs(provenance, ctx)?,
            };
            hashed = Some(inputs.clone());
            provenance::set(&mut next.metadata, spec, provenance, inputs, imatrix.as_ref());
        }
        used.push(imatrix);
        next.tell(&*source, ctx);
        chosen.push(next);
        identities.push(move || identity(&inputs));
    }
    // Formats with the same matrix have to have the same reference to it.
    let matrix = |number: usize| {
        let file = &specs[number].format.imatrix;
        let first = specs.iter().position(|s| s.format.imatrix == *file).unwrap_or(number);
        chosen[first].matrix.as_ref()
    };
    let files = specs.iter().zip(&chosen).zip(&identities).enumerate();
    let files = files.map(|(number, ((spec, chosen), identity))| ModelFile {
        source: &*source,
        metadata: &chosen.metadata,
        targets: &chosen.targets,
        out: &spec.out,
        split: spec.split,
        replace: spec.out.replace,
        identity,
        importance: matrix(number),
        hash_tensors: spec.hash_tensors,
        flush_bytes: FLUSH_BYTES,
    });
    let mut results = write_all(&files.collect::<Vec<_>>(), ctx)?;
    for (result, imatrix) in results.iter_mut().zip(used) {
        result.imatrix = imatrix;
    }
    Ok(results)
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
    let infos = infos(source, &chosen.targets);
    let files = chosen.files(spec, source)?;
    let planned = |file: &PlannedFile| PlannedPart {
        path: file.path.clone(),
        tensors: file.tensors.len(),
        bytes: file.layout.file_bytes(),
    };
    let parts: Vec<PlannedPart> = files.iter().map(planned).collect();
    let bits_per_weight = bits_per_weight(&infos);
    let tensors = infos.into_iter().zip(&chosen.targets).map(|(info, target)| PlannedTensor {
        bytes: info.bytes(),
        from: source.tensors()[target.source].ggml_type,
        name: info.name.to_string(),
        shape: info.shape,
        ggml_type: info.ggml_type,
        why: chosen.why[target.source].clone(),
        uses_importance: chosen.importance[target.source] == Importance::Used,
        lacks_importance: chosen.importance[target.source] == Importance::MissingAndNeeded,
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
