//! The metadata of a converted checkpoint: keys, types, values and order as llama.cpp's converter
//! (`conversion/base.py`, `conversion/gpt_oss.py`) writes them.

use camino::Utf8Path;

use super::error::Error;
use super::general;
use super::sampling;
use crate::ggml::GgmlType;
use crate::gguf::{Metadata, TensorInfo, Value};
use crate::model::gpt_oss::{ARCHITECTURE, Config};

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
    m.set("general.architecture", text(ARCHITECTURE));
    m.set("general.type", text("model"));
    sampling::write(directory, &mut m, warnings)?;
    general::write(directory, tensors, &mut m, warnings)?;
    architecture(config, file_type(tensors, dtype), &mut m);
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

fn architecture(config: &Config, file_type: u32, m: &mut Metadata) {
    let count = |n: usize| Value::U32(n as u32);
    let own = [
        ("block_count", count(config.layers)),
        ("context_length", count(config.context)),
        ("embedding_length", count(config.hidden)),
        ("feed_forward_length", count(config.expert_width)),
        ("attention.head_count", count(config.heads)),
        ("attention.head_count_kv", count(config.kv_heads)),
        ("rope.scaling.type", text("yarn")),
        ("rope.scaling.factor", Value::F32(config.rope_factor)),
        ("rope.scaling.original_context_length", count(config.rope_original_context)),
        ("rope.scaling.yarn_beta_fast", Value::F32(config.rope_beta_fast)),
        ("rope.scaling.yarn_beta_slow", Value::F32(config.rope_beta_slow)),
        ("rope.freq_base", Value::F32(config.rope_theta)),
        ("attention.layer_norm_rms_epsilon", Value::F32(config.rms_eps)),
        ("expert_count", count(config.experts)),
        ("expert_used_count", count(config.experts_used)),
        ("attention.key_length", count(config.head_dim)),
        ("attention.value_length", count(config.head_dim)),
    ];
    for (key, value) in own {
        m.set(format!("{ARCHITECTURE}.{key}"), value);
    }
    m.set("general.file_type", Value::U32(file_type));
    m.set(format!("{ARCHITECTURE}.attention.sliding_window"), count(config.sliding_window));
    m.set(format!("{ARCHITECTURE}.expert_feed_forward_length"), count(config.expert_width));
}
