//! Hyperparameters from a GGUF file's metadata.

use crate::gguf::{Array, Metadata, Value};
use crate::model::ModelError;

use super::{ARCHITECTURE, Config};

/// GGUF has no key for the bound; every published gpt-oss has this one.
const SWIGLU_LIMIT: f32 = 7.0;

impl Config {
    /// Reads and checks the hyperparameters that a GGUF file carries.
    ///
    /// # Errors
    /// If one is missing, of another type, or impossible.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, ModelError> {
        let keys = Keys(metadata);
        let heads = keys.count("attention.head_count")?;
        let head_dim = keys.count("attention.key_length")?;
        let vocab = match metadata.get("tokenizer.ggml.tokens") {
            Some(Value::Array(Array::String(tokens))) if !tokens.is_empty() => tokens.len(),
            _ => {
                let key = "tokenizer.ggml.tokens".to_owned();
                return Err(ModelError::MissingKey { key, expected: "an array of tokens" });
            }
        };
        let config = Config {
            layers: keys.count("block_count")?,
            hidden: keys.count("embedding_length")?,
            heads,
            kv_heads: keys.count("attention.head_count_kv")?,
            head_dim,
            experts: keys.count("expert_count")?,
            experts_used: keys.count("expert_used_count")?,
            expert_width: keys.count("expert_feed_forward_length")?,
            vocab,
            context: keys.count("context_length")?,
            rms_eps: keys.positive("attention.layer_norm_rms_epsilon")?,
            rope_theta: keys.positive("rope.freq_base")?,
            rope_factor: keys.positive("rope.scaling.factor")?,
            rope_original_context: keys.count("rope.scaling.original_context_length")?,
            rope_beta_fast: keys.positive_or("rope.scaling.yarn_beta_fast", 32.0)?,
            rope_beta_slow: keys.positive_or("rope.scaling.yarn_beta_slow", 1.0)?,
            sliding_window: keys.count("attention.sliding_window")?,
            swiglu_limit: SWIGLU_LIMIT,
        };
        keys.equals("attention.value_length", head_dim)?;
        keys.equals("rope.dimension_count", head_dim)?;
        if let Some(found) = metadata.get(&full("rope.scaling.type"))
            && *found != Value::String("yarn".to_owned())
        {
            return Err(bad("rope.scaling.type", format!("{found:?}"), "yarn"));
        }
        if heads % config.kv_heads != 0 {
            let expected = format!("a multiple of the {} key/value heads", config.kv_heads);
            return Err(bad("attention.head_count", heads, expected));
        }
        if head_dim % 8 != 0 {
            return Err(bad("attention.key_length", head_dim, "a multiple of 8"));
        }
        if config.experts_used > config.experts {
            let expected = format!("at most the {} experts there are", config.experts);
            return Err(bad("expert_used_count", config.experts_used, expected));
        }
        Ok(config)
    }
}

/// The architecture's keys of a file.
struct Keys<'a>(&'a Metadata);

impl Keys<'_> {
    /// A count: an integer from 1 to 2³¹ - 1, so that a product of two of them cannot overflow.
    fn count(&self, name: &str) -> Result<usize, ModelError> {
        let key = full(name);
        match self.0.u64(&key) {
            None => Err(ModelError::MissingKey { key, expected: "an integer" }),
            Some(n @ 1..=0x7fff_ffff) => Ok(n as usize),
            Some(n) => Err(bad(name, n, "1 to 2147483647")),
        }
    }

    fn positive(&self, name: &str) -> Result<f32, ModelError> {
        let key = full(name);
        match self.0.f32(&key) {
            None => Err(ModelError::MissingKey { key, expected: "a floating-point number" }),
            Some(v) if v.is_finite() && v > 0.0 => Ok(v),
            Some(v) => Err(bad(name, v, "a positive number")),
        }
    }

    fn positive_or(&self, name: &str, default: f32) -> Result<f32, ModelError> {
        if self.0.get(&full(name)).is_none() { Ok(default) } else { self.positive(name) }
    }

    /// The count, if it is there, has to be this one: no other is computed with.
    fn equals(&self, name: &str, expected: usize) -> Result<(), ModelError> {
        if self.0.get(&full(name)).is_none() {
            return Ok(());
        }
        match self.count(name)? {
            found if found == expected => Ok(()),
            found => Err(bad(name, found, format!("{expected}, as attention.key_length is"))),
        }
    }
}

fn full(name: &str) -> String {
    format!("{ARCHITECTURE}.{name}")
}

fn bad(name: &str, found: impl ToString, expected: impl Into<String>) -> ModelError {
    ModelError::BadValue { key: full(name), found: found.to_string(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let mut m = Metadata::default();
        for (key, value) in [
            ("block_count", 4),
            ("context_length", 131072),
            ("embedding_length", 192),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("attention.key_length", 64),
            ("attention.value_length", 64),
            ("expert_count", 12),
            ("expert_used_count", 4),
            ("expert_feed_forward_length", 192),
            ("rope.scaling.original_context_length", 4096),
            ("attention.sliding_window", 128),
        ] {
            m.set(full(key), Value::U32(value));
        }
        m.set(full("attention.layer_norm_rms_epsilon"), Value::F32(1e-5));
        m.set(full("rope.freq_base"), Value::F32(150000.0));
        m.set(full("rope.scaling.factor"), Value::F32(32.0));
        let tokens = vec!["a".to_owned(), "b".to_owned()];
        m.set("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
        m
    }

    #[test]
    fn reads_what_llama_cpp_writes() {
        let config = Config::from_metadata(&metadata()).unwrap();
        assert_eq!((config.layers, config.vocab, config.head_dim), (4, 2, 64));
        assert_eq!((config.rope_beta_fast, config.rope_beta_slow), (32.0, 1.0));
    }

    #[test]
    fn says_which_key_is_wrong() {
        let cases = [
            ("block_count", Value::U32(0), "gpt-oss.block_count is 0; expected 1 to 2147483647"),
            (
                "block_count",
                Value::Bool(true),
                "gpt-oss.block_count is missing or is not an integer",
            ),
            ("attention.head_count", Value::U32(5), "multiple of the 2 key/value heads"),
            ("attention.key_length", Value::U32(12), "as attention.key_length is"),
            ("attention.value_length", Value::U32(32), "expected 64"),
            ("expert_used_count", Value::U32(13), "at most the 12 experts"),
            ("rope.scaling.type", Value::String("linear".to_owned()), "expected yarn"),
            ("rope.freq_base", Value::F32(f32::NAN), "expected a positive number"),
        ];
        for (key, value, expected) in cases {
            let mut m = metadata();
            m.set(full(key), value);
            let message = Config::from_metadata(&m).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let mut m = metadata();
        m.remove("gpt-oss.expert_count");
        assert!(Config::from_metadata(&m).unwrap_err().to_string().contains("expert_count"));
    }
}
