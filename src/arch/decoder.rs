//! What a network asks about a model, in plain values: no architecture has a name from here on.

use crate::compute::Activation;

use super::{Hyper, RopeScaling};

/// A decoder as a network computes it. Which biases, norms of heads and sinks it has, and whether its
/// output is the token embedding, the tensors tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    pub vocab: usize,
    /// Longest context the model was made for, in tokens.
    pub context: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    pub rms_eps: f32,
    /// What scores are multiplied by.
    pub attention_scale: f32,
    pub layers: Vec<Layer>,
    /// The rotary positions that layers have, by number.
    pub ropes: Vec<Rope>,
    /// Width inside the feed-forward network, or inside one of its experts.
    pub width: usize,
    pub activation: Activation,
    /// `None` where every token goes through the one network.
    pub experts: Option<Experts>,
}

/// How a layer differs from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// How many keys a token sees, itself included; `None` for all.
    pub window: Option<usize>,
    /// Number of its rotary positions.
    pub rope: usize,
}

/// A mixture of experts; a token's weights are the softmax over the logits of those that it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    pub count: usize,
    pub used: usize,
}

/// Rotary positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    pub pairing: Pairing,
    pub base: f32,
    pub scaling: RopeScaling,
    pub factor: f32,
    pub attention_factor: f32,
    pub original_context: usize,
    pub beta_fast: f32,
    pub beta_slow: f32,
}

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Element `i` and element `i + head_dim / 2`.
    Halves,
    /// Elements `2i` and `2i + 1`.
    Neighbours,
}

impl Decoder {
    /// What follows from hyperparameters for most architectures.
    pub fn usual(hyper: &Hyper, activation: Activation, pairing: Pairing) -> Self {
        let rope = |base: f32| Rope {
            pairing,
            base,
            scaling: hyper.rope_scaling,
            factor: hyper.rope_factor,
            attention_factor: hyper.rope_attention_factor,
            original_context: hyper.rope_original_context,
            beta_fast: hyper.rope_beta_fast,
            beta_slow: hyper.rope_beta_slow,
        };
        let mut ropes = vec![rope(hyper.rope_theta)];
        if hyper.rope_theta_sliding != hyper.rope_theta && hyper.sliding.contains(&true) {
            ropes.push(rope(hyper.rope_theta_sliding));
        }
        let layer = |number: usize| match hyper.sliding.get(number) {
            Some(true) => Layer { window: Some(hyper.sliding_window), rope: ropes.len() - 1 },
            _ => Layer { window: None, rope: 0 },
        };
        Self {
            vocab: hyper.vocab,
            context: hyper.context,
            hidden: hyper.hidden,
            heads: hyper.heads,
            kv_heads: hyper.kv_heads,
            head_dim: hyper.head_dim,
            rms_eps: hyper.rms_eps,
            attention_scale: (hyper.head_dim as f64).sqrt().recip() as f32,
            layers: (0..hyper.layers).map(layer).collect(),
            ropes,
            width: hyper.width,
            activation,
            experts: (hyper.experts > 0)
                .then_some(Experts { count: hyper.experts, used: hyper.experts_used }),
        }
    }
}
