//! The tensors of a gpt-oss model.

use crate::model::ModelError;
use crate::model::loader::{Loader, Weight};

use crate::arch::Hyper;

/// All tensors.
pub struct Weights {
    /// `[hidden, vocab]`, a row per token.
    pub embedding: Weight,
    pub layers: Vec<Layer>,
    pub output_norm: Vec<f32>,
    /// `[hidden, vocab]`, a row per token.
    pub output: Weight,
}

/// The tensors of one layer.
pub struct Layer {
    pub attention_norm: Vec<f32>,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_output: Linear,
    /// One score per query head that takes part in the softmax and has no value.
    pub sinks: Vec<f32>,
    pub expert_norm: Vec<f32>,
    pub router: Linear,
    /// `[hidden, width, experts]` each.
    pub gate: Linear,
    pub up: Linear,
    /// `[width, hidden, experts]`.
    pub down: Linear,
}

/// A matrix and its bias. A matrix of experts has their rows one expert after the other.
pub struct Linear {
    pub weight: Weight,
    pub bias: Vec<f32>,
}

impl Weights {
    /// Takes every tensor out of the source and checks it.
    pub fn load(loader: &Loader, config: &Hyper) -> Result<Self, ModelError> {
        let hidden = config.hidden;
        // Not with a capacity: a wrong count fails at the first layer that is not there.
        let mut layers = Vec::new();
        for layer in 0..config.layers {
            layers.push(Layer::load(loader, config, layer)?);
        }
        Ok(Self {
            embedding: loader.matrix("token_embd.weight", &[hidden, config.vocab])?,
            layers,
            output_norm: loader.vector("output_norm.weight", &[hidden])?,
            output: loader.matrix("output.weight", &[hidden, config.vocab])?,
        })
    }
}

impl Layer {
    fn load(loader: &Loader, config: &Hyper, layer: usize) -> Result<Self, ModelError> {
        let Hyper { hidden, heads, kv_heads, head_dim, experts, width, .. } = *config;
        let name = |tensor: &str| format!("blk.{layer}.{tensor}");
        let vector = |tensor: &str, shape: &[usize]| loader.vector(&name(tensor), shape);
        let linear = |tensor: &str, shape: &[usize]| -> Result<Linear, ModelError> {
            Ok(Linear {
                weight: loader.matrix(&name(&format!("{tensor}.weight")), shape)?,
                bias: loader.vector(&name(&format!("{tensor}.bias")), &shape[1..])?,
            })
        };
        Ok(Self {
            attention_norm: vector("attn_norm.weight", &[hidden])?,
            query: linear("attn_q", &[hidden, heads * head_dim])?,
            key: linear("attn_k", &[hidden, kv_heads * head_dim])?,
            value: linear("attn_v", &[hidden, kv_heads * head_dim])?,
            attention_output: linear("attn_output", &[heads * head_dim, hidden])?,
            sinks: vector("attn_sinks.weight", &[heads])?,
            expert_norm: vector("post_attention_norm.weight", &[hidden])?,
            router: linear("ffn_gate_inp", &[hidden, experts])?,
            gate: linear("ffn_gate_exps", &[hidden, width, experts])?,
            up: linear("ffn_up_exps", &[hidden, width, experts])?,
            down: linear("ffn_down_exps", &[width, hidden, experts])?,
        })
    }
}
