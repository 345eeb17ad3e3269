//! The rotary positions of a Hugging Face configuration: YaRN's, or refused by name.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ConfigError, wrong};

/// `rope_scaling` or `rope_parameters`.
#[derive(Deserialize)]
pub(super) struct Rope {
    rope_type: Option<String>,
    /// An older name of `rope_type`; a file may carry both.
    r#type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    #[serde(default)]
    truncate: bool,
    original_max_position_embeddings: Option<usize>,
    partial_rotary_factor: Option<f32>,
    /// What cosines and sines are multiplied by, instead of what the factor gives.
    attention_factor: Option<f32>,
    attn_factor: Option<f32>,
    mscale: Option<f32>,
    mscale_all_dim: Option<f32>,
    extrapolation_factor: Option<f32>,
    /// Parameters by kind of layer.
    full_attention: Option<IgnoredAny>,
    sliding_attention: Option<IgnoredAny>,
}

/// YaRN's parameters.
pub(super) struct Yarn {
    pub(super) theta: Option<f32>,
    pub(super) factor: f32,
    pub(super) beta_fast: f32,
    pub(super) beta_slow: f32,
    pub(super) original_context: usize,
}

impl Default for Yarn {
    /// `GptOssConfig`'s own, where a file has none.
    fn default() -> Self {
        let (factor, original_context) = (32.0, 4096);
        Self { theta: None, factor, beta_fast: 32.0, beta_slow: 1.0, original_context }
    }
}

impl Rope {
    /// The parameters under `key`, if they are YaRN's and nothing stands beside them that
    /// transformers would obey and a GGUF file of gpt-oss cannot say.
    pub(super) fn resolve(self) -> Result<Yarn, ConfigError> {
        if self.full_attention.is_some() || self.sliding_attention.is_some() {
            let found = "others for full and for sliding attention";
            return Err(wrong("rope_parameters", "the same for all layers", found));
        }
        match self.rope_type.or(self.r#type).as_deref() {
            Some("yarn") => {}
            other => return Err(wrong("rope_scaling.rope_type", "yarn", other.unwrap_or("none"))),
        }
        if self.truncate {
            return Err(wrong("rope_scaling.truncate", false, true));
        }
        let Some(factor) = self.factor else {
            return Err(wrong("rope_scaling.factor", "a number", "none"));
        };
        let Some(original_context) = self.original_max_position_embeddings else {
            let key = "rope_scaling.original_max_position_embeddings";
            return Err(wrong(key, "the context before its extension, in tokens", "none"));
        };
        let implied = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
        for (key, found, expected) in [
            ("rope_scaling.attention_factor", self.attention_factor, implied),
            ("rope_scaling.attn_factor", self.attn_factor, implied),
            ("rope_scaling.extrapolation_factor", self.extrapolation_factor, 1.0),
            ("rope_scaling.partial_rotary_factor", self.partial_rotary_factor, 1.0),
        ] {
            if let Some(found) = found.filter(|f| (f - expected).abs() > 1e-4) {
                let expected = format!("{expected}, since llama.cpp obeys no other for gpt-oss");
                return Err(wrong(key, expected, found));
            }
        }
        if let (Some(mscale), Some(all)) = (self.mscale, self.mscale_all_dim)
            && mscale != 0.0
            && all != 0.0
        {
            let found = format!("mscale {mscale} and mscale_all_dim {all}");
            return Err(wrong("rope_scaling", "no mscale, which llama.cpp does not read", found));
        }
        Ok(Yarn {
            theta: self.rope_theta,
            factor,
            beta_fast: self.beta_fast.unwrap_or(32.0),
            beta_slow: self.beta_slow.unwrap_or(1.0),
            original_context,
        })
    }
}
