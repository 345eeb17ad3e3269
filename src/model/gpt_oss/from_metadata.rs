//! Hyperparameters from a GGUF file's metadata, as llama.cpp reads them
//! (`llama_model_base::load_hparams` in `src/llama-model.cpp`, `src/models/openai-moe.cpp` and, for
//! the rotary positions, `src/llama-context.cpp` of build b11434).
//!
//! What llama.cpp obeys is obeyed, or refused by its key's name. What it does not read is told
//! ([`warnings`]), for it has no effect here either.

use crate::gguf::{Array, Metadata, Value};
use crate::model::ModelError;
use crate::model::keys::Keys;

use super::{ARCHITECTURE, Config};

/// GGUF has no key for the bound; every published gpt-oss has this one.
const SWIGLU_LIMIT: f32 = 7.0;

/// llama.cpp's `LLAMA_MAX_LAYERS` and `LLAMA_MAX_EXPERTS`.
const MAX_LAYERS: usize = 512;
const MAX_EXPERTS: usize = 1024;

/// YaRN's ramp where a file does not say, and in llama.cpp always.
const BETA_FAST: (&str, f32) = ("rope.scaling.yarn_beta_fast", 32.0);
const BETA_SLOW: (&str, f32) = ("rope.scaling.yarn_beta_slow", 1.0);

/// The keys that [`Config::from_metadata`] obeys or refuses, and those that have no effect on what
/// is computed.
const KNOWN: [&str; 36] = [
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.key_length_swa",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "attention.value_length_swa",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_feed_forward_length",
    "expert_group_count",
    "expert_group_used_count",
    "expert_used_count",
    "feed_forward_length",
    "nextn_predict_layers",
    "pooling_type",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.alpha",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    BETA_FAST.0,
    BETA_SLOW.0,
    "tensor_data_layout",
    "vocab_size",
];

impl Config {
    /// Reads and checks the hyperparameters that a GGUF file carries.
    ///
    /// # Errors
    /// If one is missing, of another type, impossible, or one that llama.cpp obeys and this
    /// network does not compute with.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, ModelError> {
        let keys = Keys { metadata, architecture: ARCHITECTURE };
        let vocab = match metadata.get("tokenizer.ggml.tokens") {
            Some(Value::Array(Array::String(tokens))) if !tokens.is_empty() => tokens.len(),
            _ => {
                let key = "tokenizer.ggml.tokens".to_owned();
                return Err(ModelError::MissingKey { key, expected: "an array of tokens" });
            }
        };
        let context = keys.count("context_length")?;
        let hidden = keys.count("embedding_length")?;
        let layers = at_most(&keys, "block_count", keys.count("block_count")?, MAX_LAYERS)?;
        let by_layer = |name: &str| keys.count_by_layer(name, layers);
        let needed =
            |name: &str, found: Option<usize>| found.ok_or_else(|| keys.missing(name, "a u32"));
        let heads = needed("attention.head_count", by_layer("attention.head_count")?)?;
        let head_dim = keys.count_if("attention.key_length")?.unwrap_or(hidden / heads);
        let experts = at_most(&keys, "expert_count", keys.count("expert_count")?, MAX_EXPERTS)?;
        let width = by_layer("expert_feed_forward_length")?;
        let rope_theta = keys.positive("rope.freq_base")?.unwrap_or(10_000.0);
        let eps = keys.positive("attention.layer_norm_rms_epsilon")?;
        let config = Config {
            layers,
            hidden,
            heads,
            kv_heads: by_layer("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            experts,
            experts_used: needed("expert_used_count", by_layer("expert_used_count")?)?,
            expert_width: needed("expert_feed_forward_length", width)?,
            vocab,
            context,
            rms_eps: eps
                .ok_or_else(|| keys.missing("attention.layer_norm_rms_epsilon", "an f32"))?,
            rope_theta,
            rope_theta_sliding: keys.positive("rope.freq_base_swa")?.unwrap_or(rope_theta),
            rope_yarn: yarn(&keys)?,
            rope_factor: rope_factor(&keys)?,
            rope_attention_factor: keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0),
            rope_original_context: keys
                .count_if("rope.scaling.original_context_length")?
                .unwrap_or(context),
            rope_beta_fast: keys.positive(BETA_FAST.0)?.unwrap_or(BETA_FAST.1),
            rope_beta_slow: keys.positive(BETA_SLOW.0)?.unwrap_or(BETA_SLOW.1),
            sliding_window: keys.count("attention.sliding_window")?,
            sliding: sliding(&keys, layers)?,
            swiglu_limit: SWIGLU_LIMIT,
        };
        config.check_counts(&keys)?;
        config.refuse_what_is_not_computed(&keys)?;
        Ok(config)
    }

    /// What is impossible together.
    fn check_counts(&self, keys: &Keys<'_>) -> Result<(), ModelError> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("a multiple of the {} key/value heads", self.kv_heads);
            return Err(keys.bad("attention.head_count", self.heads, expected));
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(8) {
            return Err(keys.bad("attention.key_length", self.head_dim, "a multiple of 8"));
        }
        if self.experts_used > self.experts {
            let expected = format!("at most the {} experts there are", self.experts);
            return Err(keys.bad("expert_used_count", self.experts_used, expected));
        }
        Ok(())
    }

    /// What llama.cpp computes with and this network does not; and types that it refuses, of keys
    /// that have no effect.
    fn refuse_what_is_not_computed(&self, keys: &Keys<'_>) -> Result<(), ModelError> {
        for name in [
            "attention.value_length",
            "attention.key_length_swa",
            "attention.value_length_swa",
            "rope.dimension_count",
            "rope.dimension_count_swa",
        ] {
            keys.equals(name, self.head_dim, "the size of a head in attention.key_length")?;
        }
        keys.equals("nextn_predict_layers", 0, "since such layers are not computed")?;
        if keys.flag("attention.causal")? == Some(false) {
            return Err(keys.bad("attention.causal", false, "true; nothing else is computed"));
        }
        if let Some(groups @ 2..) = keys.unsigned("expert_group_count")? {
            return Err(keys.bad("expert_group_count", groups, "1; groups are not computed"));
        }
        keys.unsigned("expert_group_used_count")?;
        if let Some(Value::Array(array)) = keys.get("feed_forward_length") {
            keys.numbers("feed_forward_length", array, self.layers)?;
        } else {
            keys.unsigned("feed_forward_length")?;
        }
        keys.unsigned("pooling_type")?;
        keys.number("rope.scaling.alpha")?;
        keys.flag("rope.scaling.finetuned")?;
        Ok(())
    }
}

/// Which layers slide: those that an array marks; without one all but every `n`-th, of which the
/// key without an array is `n`, and zero is none.
fn sliding(keys: &Keys<'_>, layers: usize) -> Result<Vec<bool>, ModelError> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let sliding: Vec<bool> = match keys.get(PATTERN) {
        Some(Value::Array(array)) => {
            keys.numbers(PATTERN, array, layers)?.into_iter().map(|n| n != 0).collect()
        }
        _ => match keys.unsigned(PATTERN)?.map_or(2, |n| n as usize) {
            0 => vec![true; layers],
            n => super::config::all_but_every(n, layers),
        },
    };
    if keys.get(PATTERN).is_some() && !sliding.contains(&true) {
        let expected = "one by which a layer slides; llama.cpp stops where none does";
        return Err(keys.bad(PATTERN, "one by which none slides", expected));
    }
    Ok(sliding)
}

/// Whether positions are extended by YaRN; where not, they are divided by the factor.
fn yarn(keys: &Keys<'_>) -> Result<bool, ModelError> {
    const TYPE: &str = "rope.scaling.type";
    match keys.text(TYPE)?.unwrap_or("linear") {
        "yarn" => Ok(true),
        "linear" => Ok(false),
        // llama.cpp goes on to divide the positions of sliding layers.
        "none" if rope_factor(keys)? == 1.0 => Ok(false),
        "none" => Err(keys.bad(TYPE, "none with a factor", "none without one, yarn or linear")),
        other => Err(keys.bad(TYPE, other, "yarn, linear or none")),
    }
}

/// The factor under its name or its older one; zero is none.
fn rope_factor(keys: &Keys<'_>) -> Result<f32, ModelError> {
    for name in ["rope.scaling.factor", "rope.scale_linear"] {
        match keys.number(name)? {
            None => {}
            Some(0.0) => return Ok(1.0),
            Some(_) => return Ok(keys.positive(name)?.unwrap_or(1.0)),
        }
    }
    Ok(1.0)
}

fn at_most(keys: &Keys<'_>, name: &str, n: usize, limit: usize) -> Result<usize, ModelError> {
    if n > limit {
        return Err(keys.bad(name, n, format!("1 to {limit}, the most that llama.cpp loads")));
    }
    Ok(n)
}

/// What a file says under gpt-oss's name and the program does not compute with, or llama.cpp not.
pub(super) fn warnings(metadata: &Metadata) -> Vec<String> {
    let keys = Keys { metadata, architecture: ARCHITECTURE };
    let mut warnings = Vec::new();
    let unknown: Vec<String> =
        keys.names().filter(|name| !KNOWN.contains(name)).map(|name| keys.full(name)).collect();
    if !unknown.is_empty() {
        warnings.push(format!(
            "metadata: {} of no effect, neither here nor in llama.cpp's gpt-oss: {}",
            if unknown.len() == 1 { "a key".to_owned() } else { format!("{} keys", unknown.len()) },
            unknown.join(", ")
        ));
    }
    for (name, default) in [BETA_FAST, BETA_SLOW] {
        if let Ok(Some(found)) = keys.number(name)
            && found != default
        {
            warnings.push(format!(
                "metadata: {} is {found}; it is obeyed here, but llama.cpp does not read it for \
                 gpt-oss and computes with {default}",
                keys.full(name)
            ));
        }
    }
    warnings
}

#[cfg(test)]
#[path = "from_metadata_tests.rs"]
mod tests;
