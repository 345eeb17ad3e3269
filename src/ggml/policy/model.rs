//! What the choice depends on, of the model as a whole.

/// A model by the numbers in its metadata; a key that is missing is zero, unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Model<'a> {
    /// `general.architecture`, such as `llama`.
    pub architecture: &'a str,
    /// All layers: `block_count`.
    pub layers: usize,
    /// Those of them, at the end, that only predict further tokens: `nextn_predict_layers`.
    pub predicting_layers: usize,
    /// Zero or one where the model is no mixture of experts.
    pub experts: usize,
    /// Query heads of the first layer.
    pub heads: usize,
    /// Key and value heads of the first layer; as many as `heads` where the key is missing.
    pub kv_heads: usize,
}

impl Model<'_> {
    /// Query heads for each key and value head; zero where the first layer has no such heads.
    pub(super) fn heads_per_kv_head(&self) -> usize {
        self.heads.checked_div(self.kv_heads).unwrap_or(0)
    }

    /// Whether llama.cpp takes it for a model of 70B, whose values it gives more bits: many query
    /// heads share them, so they are small. Follows each architecture's `load_arch_hparams`.
    pub(super) fn is_70b(&self) -> bool {
        let layers = self.layers.saturating_sub(self.predicting_layers);
        match self.architecture {
            "llama" | "llama-embed" => {
                layers == 80 && self.experts != 8 && self.heads != self.kv_heads
            }
            "deci" | "olmo" | "qwen2" => layers == 80,
            "jais2" => layers == 68,
            _ => false,
        }
    }
}
