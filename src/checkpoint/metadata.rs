//! The metadata of a converted checkpoint: keys, types, values and order as llama.cpp's converter
//! (`conversion/base.py`) writes them.

use camino::Utf8Path;

use super::error::Error;
use super::general;
use super::sampling;
use crate::arch::Config;
use crate::ggml::GgmlType;
use crate::gguf::{Metadata, TensorInfo, Value};

/// Version of ggml's quantized layouts, `GGML_QUANT_VERSION`.
pub const QUANTIZATION_VERSION: u32 = 2;

/// `general.file_type` of a file with MXFP4 experts: llama.cpp's `MOSTLY_MXFP4_MOE`.
const FILE_TYPE_MXFP4: u32 = 38;

/// The metadata of the checkpoint in `directory` with these tensors, of which those that have a
/// choice are `dtype`; `vocabulary` are the keys of its vocabulary. What could not be carried over is told in `warnings`.
pub fn metadata(
    directory: &Utf8Path,
    config: &Config,
    tensors: &[TensorInfo],
    dtype: GgmlType,
    vocabulary: Metadata,
    warnings: &mut Vec<String>,
) -> Result<Metadata, Error> {
    let mut m = Metadata::default();
    m.set("general.architecture", text(config.architecture.name));
    m.set("general.type", text("model"));
    sampling::write(directory, &mut m, warnings)?;
    general::write(directory, tensors, &mut m, warnings)?;
    config.architecture.write_to(&config.hyper, file_type(tensors, dtype), &mut m);
    m.set("general.quantization_version", Value::U32(QUANTIZATION_VERSION));
    m.append(vocabulary);
    Ok(m)
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

fn file_type(tensors: &[TensorInfo], dtype: GgmlType) -> u32 {
    if tensors.iter().any(|t| t.ggml_type == GgmlType::MXFP4) {
        return FILE_TYPE_MXFP4;
    }
    match dtype {
        GgmlType::F16 => 1,
        GgmlType::BF16 => 32,
        _ => 0,
    }
}
