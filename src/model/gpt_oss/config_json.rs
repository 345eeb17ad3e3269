//! Hyperparameters from the text of either kind of `config.json`. Knows no files.
//!
//! Defaults of the Hugging Face kind are those of transformers' `GptOssConfig`; the other kind is
//! `ModelConfig` of `gpt_oss/torch/model.py`.

mod rope;

use serde::{Deserialize, Deserializer};

use self::rope::{Rope, Yarn};
use super::config::all_but_every;
use super::{Config, Layout};

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, a key is missing, or a value is of the wrong type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A value that a gpt-oss model cannot have, or one that is not supported.
    #[error("{key}: expected {expected}, found {found}")]
    Value { key: &'static str, expected: String, found: String },
}

fn wrong(key: &'static str, expected: impl ToString, found: impl ToString) -> ConfigError {
    ConfigError::Value { key, expected: expected.to_string(), found: found.to_string() }
}

/// `rms_norm_eps` of `model.py`, which has no key for it.
const RMS_EPS: f32 = 1e-5;

/// The bound on the experts' activations. GGUF has no key for it and readers take this value.
const SWIGLU_LIMIT: f32 = 7.0;

/// Most layers, experts and heads that are believed. Bounds what a damaged file can ask for.
const MAX_COUNT: usize = 1 << 12;

/// Largest width, vocabulary and context that are believed.
const MAX_WIDTH: usize = 1 << 24;

impl Config {
    /// Reads either kind; a `model_type` marks the Hugging Face one.
    ///
    /// # Errors
    /// If the text is not JSON of that kind, describes another model or one that cannot be.
    pub fn from_json(text: &str) -> Result<(Self, Layout), ConfigError> {
        /// What tells the kinds apart.
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        if !text.trim_start().starts_with('{') {
            let found = if text.trim().is_empty() { "nothing" } else { "something else" };
            return Err(wrong("the whole file", "a JSON object; download it again", found));
        }
        let (mut config, layout) = match serde_json::from_str::<Kind>(text)?.model_type {
            Some(kind) if kind == "gpt_oss" => {
                (serde_json::from_str::<HuggingFace>(text)?.resolve()?, Layout::HuggingFace)
            }
            Some(other) => {
                return Err(wrong("model_type", "gpt_oss, the one supported architecture", other));
            }
            None => (serde_json::from_str::<Original>(text)?.resolve(), Layout::Original),
        };
        config.check()?;
        config.sliding = all_but_every(2, config.layers);
        Ok((config, layout))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("number of experts", self.experts),
            ("experts_per_token", self.experts_used),
            ("head_dim", self.head_dim),
        ];
        for (key, value) in counts {
            if value == 0 || value > MAX_COUNT {
                return Err(wrong(key, format!("1 to {MAX_COUNT}"), value));
            }
        }
        let widths = [
            ("hidden_size", self.hidden),
            ("intermediate_size", self.expert_width),
            ("vocab_size", self.vocab),
            ("sliding_window", self.sliding_window),
            ("max_position_embeddings", self.context),
            ("original context length", self.rope_original_context),
        ];
        for (key, value) in widths {
            if value == 0 || value > MAX_WIDTH {
                return Err(wrong(key, format!("1 to {MAX_WIDTH}"), value));
            }
        }
        let floats = [
            ("rms_norm_eps", self.rms_eps),
            ("rope_theta", self.rope_theta),
            ("rope scaling factor", self.rope_factor),
            ("beta_fast", self.rope_beta_fast),
            ("beta_slow", self.rope_beta_slow),
        ];
        for (key, value) in floats {
            if !value.is_finite() || value <= 0.0 {
                return Err(wrong(key, "a positive number", value));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("a divisor of num_attention_heads, {}", self.heads);
            return Err(wrong("num_key_value_heads", expected, self.kv_heads));
        }
        if self.experts_used > self.experts {
            let expected = format!("at most the number of experts, {}", self.experts);
            return Err(wrong("experts_per_token", expected, self.experts_used));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(wrong("head_dim", "an even number", self.head_dim));
        }
        if self.swiglu_limit != SWIGLU_LIMIT {
            let expected = format!("{SWIGLU_LIMIT:?}, since a GGUF file cannot say otherwise");
            return Err(wrong("swiglu_limit", expected, self.swiglu_limit));
        }
        Ok(())
    }
}

/// `GptOssConfig` of transformers.
#[derive(Deserialize)]
#[serde(default)]
struct HuggingFace {
    num_hidden_layers: usize,
    num_local_experts: usize,
    num_experts_per_tok: Option<usize>,
    /// An older name of `num_experts_per_tok`; published files carry both.
    experts_per_token: Option<usize>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    head_dim: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    sliding_window: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    #[serde(deserialize_with = "given")]
    rope_scaling: Given<Rope>,
    /// Where transformers 5 keeps `rope_scaling` and `rope_theta`.
    #[serde(deserialize_with = "given")]
    rope_parameters: Given<Rope>,
    partial_rotary_factor: Option<f32>,
    /// Groups of experts, which the converter hands on and llama.cpp obeys.
    n_group: Option<usize>,
    is_causal: Option<bool>,
    swiglu_limit: f32,
    layer_types: Option<Vec<String>>,
    tie_word_embeddings: bool,
    hidden_act: String,
    attention_bias: bool,
    /// Absent where the experts are plain.
    quantization_config: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    quant_method: String,
}

impl Default for HuggingFace {
    fn default() -> Self {
        Self {
            num_hidden_layers: 36,
            num_local_experts: 128,
            num_experts_per_tok: None,
            experts_per_token: None,
            vocab_size: 201_088,
            hidden_size: 2880,
            intermediate_size: 2880,
            head_dim: 64,
            num_attention_heads: 64,
            num_key_value_heads: 8,
            sliding_window: 128,
            max_position_embeddings: 131_072,
            rms_norm_eps: RMS_EPS,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            partial_rotary_factor: None,
            n_group: None,
            is_causal: None,
            swiglu_limit: SWIGLU_LIMIT,
            layer_types: None,
            tie_word_embeddings: false,
            hidden_act: "silu".to_owned(),
            attention_bias: true,
            quantization_config: None,
        }
    }
}

/// `None` where a key is not there, `Some(None)` where it is `null`.
type Given<T> = Option<Option<T>>;

fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(json: D) -> Result<Given<T>, D::Error> {
    Option::deserialize(json).map(Some)
}

impl HuggingFace {
    fn resolve(self) -> Result<Config, ConfigError> {
        let rope = match self.rope_parameters.or(self.rope_scaling) {
            None => Yarn::default(),
            Some(None) => return Err(wrong("rope_scaling", "YaRN's parameters", "null")),
            Some(Some(rope)) => rope.resolve()?,
        };
        if let Some(found) = self.partial_rotary_factor.filter(|f| *f != 1.0) {
            return Err(wrong("partial_rotary_factor", 1, found));
        }
        if let Some(found) = self.n_group.filter(|n| *n > 1) {
            return Err(wrong("n_group", "1, experts without groups", found));
        }
        if self.is_causal == Some(false) {
            return Err(wrong("is_causal", true, false));
        }
        if self.tie_word_embeddings {
            return Err(wrong("tie_word_embeddings", false, true));
        }
        if !self.attention_bias {
            return Err(wrong("attention_bias", true, false));
        }
        if let (Some(found), Some(expected)) = (self.experts_per_token, self.num_experts_per_tok)
            && found != expected
        {
            let expected = format!("{expected}, as num_experts_per_tok says");
            return Err(wrong("experts_per_token", expected, found));
        }
        if let Some(found) =
            self.quantization_config.map(|q| q.quant_method).filter(|m| m != "mxfp4")
        {
            return Err(wrong("quantization_config.quant_method", "mxfp4", found));
        }
        if self.hidden_act != "silu" {
            return Err(wrong("hidden_act", "silu", self.hidden_act));
        }
        if let Some(types) = self.layer_types {
            let expected = ["sliding_attention", "full_attention"].into_iter().cycle();
            if types.len() != self.num_hidden_layers {
                return Err(wrong("layer_types", self.num_hidden_layers, types.len()));
            }
            if let Some((layer, (found, expected))) =
                types.iter().zip(expected).enumerate().find(|(_, (a, b))| a != b)
            {
                let found = format!("{found} in layer {layer}");
                return Err(wrong("layer_types", format!("{expected} in layer {layer}"), found));
            }
        }
        let rope_theta = rope.theta.or(self.rope_theta).unwrap_or(150_000.0);
        Ok(Config {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            experts: self.num_local_experts,
            experts_used: self.num_experts_per_tok.or(self.experts_per_token).unwrap_or(4),
            expert_width: self.intermediate_size,
            vocab: self.vocab_size,
            context: self.max_position_embeddings,
            rms_eps: self.rms_norm_eps,
            rope_theta,
            rope_theta_sliding: rope_theta,
            rope_yarn: true,
            rope_factor: rope.factor,
            rope_attention_factor: 1.0,
            rope_original_context: rope.original_context,
            rope_beta_fast: rope.beta_fast,
            rope_beta_slow: rope.beta_slow,
            sliding_window: self.sliding_window,
            // Known once the number of layers is believed.
            sliding: Vec::new(),
            swiglu_limit: self.swiglu_limit,
        })
    }
}

/// `ModelConfig` of `gpt_oss/torch/model.py`.
#[derive(Deserialize)]
struct Original {
    num_hidden_layers: usize,
    num_experts: usize,
    experts_per_token: usize,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    #[serde(default = "swiglu_limit")]
    swiglu_limit: f32,
    head_dim: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    sliding_window: usize,
    initial_context_length: usize,
    rope_theta: f32,
    rope_scaling_factor: f32,
    /// YaRN's `beta_slow`.
    rope_ntk_alpha: f32,
    /// YaRN's `beta_fast`.
    rope_ntk_beta: f32,
}

fn swiglu_limit() -> f32 {
    SWIGLU_LIMIT
}

impl Original {
    fn resolve(self) -> Config {
        Config {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            experts: self.num_experts,
            experts_used: self.experts_per_token,
            expert_width: self.intermediate_size,
            vocab: self.vocab_size,
            // The float product is exact for every context there is, and saturates beyond.
            context: (self.initial_context_length as f64 * f64::from(self.rope_scaling_factor))
                as usize,
            rms_eps: RMS_EPS,
            rope_theta: self.rope_theta,
            rope_theta_sliding: self.rope_theta,
            rope_yarn: true,
            rope_factor: self.rope_scaling_factor,
            rope_attention_factor: 1.0,
            rope_original_context: self.initial_context_length,
            rope_beta_fast: self.rope_ntk_beta,
            rope_beta_slow: self.rope_ntk_alpha,
            sliding_window: self.sliding_window,
            // Known once the number of layers is believed.
            sliding: Vec::new(),
            swiglu_limit: self.swiglu_limit,
        }
    }
}

#[cfg(test)]
mod tests;
