//! Convert: writes a checkpoint as a GGUF file, as llama.cpp's converter lays it out.

mod spec;

use camino::Utf8PathBuf;

use super::model_source::{
    identity, open_checkpoint, outline_source, refuse_own_input, source_warnings, weight_files,
};
use super::write_model::{FLUSH_BYTES, NewModel, NewTensor, new_files, oversized};
use super::{Context, Level, QuantizeSource, StepError, WriteResult};
use crate::gguf::TensorSource;

pub use spec::ConvertSpec;

/// Does the step.
///
/// # Errors
/// [`super::ErrorClass::Input`] if the checkpoint is not what it should be;
/// [`super::ErrorClass::Host`] if the file cannot be written; [`super::ErrorClass::Usage`] if it is
/// there already.
pub fn run(spec: &ConvertSpec, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
    let source = open_checkpoint(&spec.checkpoint, &spec.tokenizer, spec.dtype)?;
    let tensors: Vec<NewTensor> = source
        .tensors()
        .iter()
        .enumerate()
        .map(|(source, info)| NewTensor { source, ggml_type: info.ggml_type })
        .collect();
    let files = weight_files(&source_of(spec))?;
    let infos = source.tensors();
    for file in new_files(source.metadata(), infos, &spec.out, spec.split)? {
        refuse_own_input(&files, &file.path)?;
    }
    for warning in source_warnings(&source).into_iter().chain(oversized(infos, spec.split)) {
        ctx.log(Level::Warn, warning);
    }
    let model = NewModel {
        source: &source,
        metadata: source.metadata(),
        tensors: &tensors,
        out: &spec.out,
        split: spec.split,
        replace: spec.out.replace,
        identity: &|| identity(&files),
        importance: None,
        hash_tensors: spec.hash_tensors,
        flush_bytes: FLUSH_BYTES,
        ctx,
    };
    model.write()
}

/// The checkpoint, as what it is written from.
fn source_of(spec: &ConvertSpec) -> QuantizeSource {
    QuantizeSource::Checkpoint {
        directory: spec.checkpoint.clone(),
        tokenizer: spec.tokenizer.clone(),
        dtype: spec.dtype,
    }
}

/// The names of the files that the step writes; reads headers only.
///
/// # Errors
/// [`super::ErrorClass::Input`] if the checkpoint is not what it should be.
pub fn output_paths(spec: &ConvertSpec) -> Result<Vec<Utf8PathBuf>, StepError> {
    if spec.split.is_none() {
        return Ok(vec![spec.out.path.clone()]);
    }
    let source = outline_source(&source_of(spec))?;
    let files = new_files(source.metadata(), source.tensors(), &spec.out, spec.split)?;
    Ok(files.into_iter().map(|file| file.path).collect())
}
