//! Hyperparameters from the text of either kind of `config.json`. Knows no files.
//!
//! Defaults of the Hugging Face kind are those of transformers' `GptOssConfig`; the other kind is
//! `ModelConfig` of `gpt_oss/torch/model.py`.

use serde::Deserialize;

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
        let (config, layout) = match serde_json::from_str::<Kind>(text)?.model_type {
            Some(kind) if kind == "gpt_oss" => {
                (serde_json::from_str::<HuggingFace>(text)?.resolve()?, Layout::HuggingFace)
            }
            Some(other) => {
                return Err(wrong("model_type", "gpt_oss, the one supported architecture", other));
            }
            None => (serde_json::from_str::<Original>(text)?.resolve(), Layout::Original),
        };
        config.check()?;
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
    rope_scaling: Option<Rope>,
    /// Where transformers 5 keeps `rope_scaling` and `rope_theta`.
    rope_parameters: Option<Rope>,
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
            swiglu_limit: SWIGLU_LIMIT,
            layer_types: None,
            tie_word_embeddings: false,
            hidden_act: "silu".to_owned(),
            attention_bias: true,
            quantization_config: None,
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(default)]
struct Rope {
    rope_type: Option<String>,
    /// An older name of `rope_type`; a file may carry both.
    r#type: Option<String>,
    rope_theta: Option<f32>,
    factor: f32,
    beta_fast: f32,
    beta_slow: f32,
    truncate: bool,
    original_max_position_embeddings: usize,
}

impl Default for Rope {
    fn default() -> Self {
        Self {
            rope_type: None,
            r#type: None,
            rope_theta: None,
            factor: 32.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: false,
            original_max_position_embeddings: 4096,
        }
    }
}

impl HuggingFace {
    fn resolve(self) -> Result<Config, ConfigError> {
        let rope = self.rope_parameters.or(self.rope_scaling).unwrap_or_default();
        if let Some(found) = rope.rope_type.or(rope.r#type).filter(|t| t != "yarn") {
            return Err(wrong("rope_scaling.rope_type", "yarn", found));
        }
        if rope.truncate {
            return Err(wrong("rope_scaling.truncate", false, true));
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
            rope_theta: rope.rope_theta.or(self.rope_theta).unwrap_or(150_000.0),
            rope_factor: rope.factor,
            rope_original_context: rope.original_max_position_embeddings,
            rope_beta_fast: rope.beta_fast,
            rope_beta_slow: rope.beta_slow,
            sliding_window: self.sliding_window,
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
            rope_factor: self.rope_scaling_factor,
            rope_original_context: self.initial_context_length,
            rope_beta_fast: self.rope_ntk_beta,
            rope_beta_slow: self.rope_ntk_alpha,
            sliding_window: self.sliding_window,
            swiglu_limit: self.swiglu_limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANO: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/gpt-oss-nano/config.json"
    ));
    const NANO_ORIGINAL: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/gpt-oss-nano/original/config.json"
    ));

    #[test]
    fn both_kinds_describe_the_same_model() {
        let (ours, layout) = Config::from_json(NANO).unwrap();
        assert_eq!(layout, Layout::HuggingFace);
        let (original, layout) = Config::from_json(NANO_ORIGINAL).unwrap();
        assert_eq!(layout, Layout::Original);
        assert_eq!(ours, original);
        assert_eq!((ours.layers, ours.experts, ours.context), (4, 12, 131_072));
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let (config, _) = Config::from_json(r#"{"model_type": "gpt_oss"}"#).unwrap();
        assert_eq!((config.layers, config.experts, config.experts_used), (36, 128, 4));
        assert_eq!((config.rope_theta, config.rope_factor), (150_000.0, 32.0));
    }

    #[test]
    fn transformers_5_keeps_rope_elsewhere() {
        let text = r#"{"model_type": "gpt_oss", "rope_scaling": {"factor": 8},
            "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000, "factor": 16.0}}"#;
        let (config, _) = Config::from_json(text).unwrap();
        assert_eq!((config.rope_theta, config.rope_factor), (10_000.0, 16.0));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let message = |text: &str| Config::from_json(text).unwrap_err().to_string();
        let hf = |rest: &str| message(&format!(r#"{{"model_type": "gpt_oss", {rest}}}"#));
        assert!(message("{").contains("EOF"));
        assert!(message("[]").contains("expected a JSON object"));
        assert!(message(r#"{"model_type": "llama"}"#).contains("expected gpt_oss"));
        assert!(message(r#"{"num_hidden_layers": 4}"#).contains("missing field `num_experts`"));
        assert!(hf(r#""hidden_size": "x""#).contains("invalid type"));
        assert!(hf(r#""num_hidden_layers": 0"#).contains("num_hidden_layers: expected 1 to 4096"));
        assert!(hf(r#""hidden_size": 99999999999"#).contains("hidden_size: expected 1 to"));
        assert!(hf(r#""num_key_value_heads": 7"#).contains("a divisor of num_attention_heads"));
        assert!(hf(r#""num_experts_per_tok": 200"#).contains("at most the number of experts, 128"));
        assert!(hf(r#""swiglu_limit": 8.0"#).contains("a GGUF file cannot say otherwise"));
        assert!(hf(r#""rope_theta": -1"#).contains("rope_theta: expected a positive number"));
        assert!(hf(r#""rope_scaling": {"rope_type": "linear"}"#).contains("expected yarn"));
        assert!(
            hf(r#""num_experts_per_tok": 4, "experts_per_token": 8"#).contains("expected 4, as")
        );
        assert!(hf(r#""quantization_config": {"quant_method": "fp8"}"#).contains("expected mxfp4"));
        assert!(hf(r#""tie_word_embeddings": true"#).contains("tie_word_embeddings"));
        let types =
            r#""num_hidden_layers": 2, "layer_types": ["sliding_attention", "sliding_attention"]"#;
        assert!(hf(types).contains("expected full_attention in layer 1"));
    }
}
