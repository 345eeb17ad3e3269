//! The metadata of a converted checkpoint: keys, types, values and order as llama.cpp's converter
//! (`conversion/base.py`, `conversion/gpt_oss.py`) writes them.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value as Json;

use super::error::Error;
use super::json_file::read_text;
use super::model_card::ModelCard;
use super::model_id::{ModelId, computed_size_label};
use crate::ggml::GgmlType;
use crate::gguf::{Metadata, TensorInfo, Value};
use crate::model::gpt_oss::{ARCHITECTURE, Config};
use crate::tokenizer::Vocabulary;

/// Version of ggml's quantized layouts, `GGML_QUANT_VERSION`.
pub const QUANTIZATION_VERSION: u32 = 2;

/// `general.file_type` of a file with MXFP4 experts: llama.cpp's `MOSTLY_MXFP4_MOE`.
const FILE_TYPE_MXFP4: u32 = 38;

/// The metadata of the checkpoint in `directory` with these tensors, of which those that have a
/// choice are `dtype`.
pub fn metadata(
    directory: &Utf8Path,
    config: &Config,
    tensors: &[TensorInfo],
    dtype: GgmlType,
    vocabulary: Vocabulary,
) -> Result<Metadata, Error> {
    let mut m = Metadata::default();
    m.set("general.architecture", text(ARCHITECTURE));
    m.set("general.type", text("model"));
    sampling(directory, &mut m)?;
    naming(directory, tensors, &mut m);
    let card = ModelCard::read(directory)?;
    card.write_license(&mut m);
    card.write_tags(&mut m);
    architecture(config, file_type(tensors, dtype), &mut m);
    m.set("general.quantization_version", Value::U32(QUANTIZATION_VERSION));
    vocabulary.write_to(&mut m);
    Ok(m)
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// Recommended sampling, from `generation_config.json` where there is one.
fn sampling(directory: &Utf8Path, m: &mut Metadata) -> Result<(), Error> {
    let path = directory.join("generation_config.json");
    if !path.is_file() {
        return Ok(());
    }
    let config: Json = serde_json::from_str(&read_text(&path)?).map_err(|source| Error::Json {
        path,
        what: "the generation configuration",
        source,
    })?;
    let key = |name: &str| format!("general.sampling.{name}");
    if let Some(sequence) = config.get("sequence").and_then(Json::as_str) {
        m.set(key("sequence"), text(sequence));
    }
    let int = |name: &str| config.get(name)?.as_i64()?.try_into().ok().map(Value::I32);
    let float = |name: &str| Some(Value::F32(config.get(name)?.as_f64()? as f32));
    let values = [
        ("top_k", int("top_k")),
        ("top_p", float("top_p")),
        ("min_p", float("min_p")),
        ("xtc_probability", float("xtc_probability")),
        ("xtc_threshold", float("xtc_threshold")),
        ("temp", float("temperature")),
        ("penalty_last_n", int("penalty_last_n")),
        ("penalty_repeat", float("penalty_repeat").or_else(|| float("repetition_penalty"))),
        ("mirostat", int("mirostat")),
        ("mirostat_tau", float("mirostat_tau")),
        ("mirostat_eta", float("mirostat_eta")),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            m.set(key(name), value);
        }
    }
    Ok(())
}

/// Name and size.
fn naming(directory: &Utf8Path, tensors: &[TensorInfo], m: &mut Metadata) {
    let count = Parameters::count(tensors);
    let id = ModelId::parse(&model_name(directory), count.total);
    m.set("general.name", text(id.name));
    for (key, value) in
        [("version", id.version), ("finetune", id.finetune), ("basename", id.basename)]
    {
        if let Some(value) = value {
            m.set(format!("general.{key}"), text(value));
        }
    }
    let label = id.size_label.unwrap_or_else(|| match count.experts {
        0 => computed_size_label(count.total, 0),
        experts => computed_size_label(count.shared + count.one_expert, experts),
    });
    m.set("general.size_label", text(label));
}

/// The name of the model in `directory`, from which `general.name` and others are taken: the
/// directory's name; that of its parent where it is called `original`, as published.
pub fn model_name(directory: &Utf8Path) -> String {
    let full = directory.canonicalize_utf8().unwrap_or_else(|_| Utf8PathBuf::from(directory));
    let named = match (full.file_name(), full.parent()) {
        (Some("original"), Some(parent)) => parent.file_name(),
        (name, _) => name,
    };
    named.unwrap_or("gpt-oss").to_owned()
}

/// Parameters of a model, counted as gguf-py counts them.
struct Parameters {
    total: u64,
    shared: u64,
    /// Those of one expert of every layer.
    one_expert: u64,
    /// Experts in a layer; zero without.
    experts: u64,
}

impl Parameters {
    fn count(tensors: &[TensorInfo]) -> Self {
        let mut count = Self { total: 0, shared: 0, one_expert: 0, experts: 0 };
        let (mut expert_sum, mut expert_tensors) = (0u64, 0);
        for tensor in tensors {
            let elements = tensor.elements();
            count.total += elements;
            // A bias of the experts has two dimensions and counts as shared.
            if tensor.name.contains("_exps.") && tensor.shape.len() == 3 {
                count.one_expert += elements / tensor.shape[2];
                expert_sum += tensor.shape[2];
                expert_tensors += 1;
            } else {
                count.shared += elements;
            }
        }
        count.experts = expert_sum.checked_div(expert_tensors).unwrap_or(0);
        count
    }
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
