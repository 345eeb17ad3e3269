//! The hyperparameters of a model, whichever file they came from.

/// Hyperparameters. What an architecture does not have is zero, or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hyper {
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    pub experts: usize,
    pub experts_used: usize,
    /// Width inside the feed-forward network; of one expert, where there are experts.
    pub width: usize,
    pub vocab: usize,
    /// Longest context the model was made for, in tokens.
    pub context: usize,
    pub rms_eps: f32,
    pub rope_theta: f32,
    /// Base of the sliding layers' rotary angles.
    pub rope_theta_sliding: f32,
    pub rope_scaling: RopeScaling,
    /// The context's extension factor.
    pub rope_factor: f32,
    /// What cosines and sines are multiplied by, over what the scaling multiplies them by; 1 for none.
    pub rope_attention_factor: f32,
    /// Context before its extension.
    pub rope_original_context: usize,
    pub rope_beta_fast: f32,
    pub rope_beta_slow: f32,
    /// Tokens that a sliding layer sees.
    pub sliding_window: usize,
    /// For each layer whether it slides; the others see everything.
    pub sliding: Vec<bool>,
}

impl Hyper {
    /// Nothing but what is the same for all that do not say otherwise.
    pub(super) fn new(vocab: usize) -> Self {
        Self { vocab, rope_factor: 1.0, rope_attention_factor: 1.0, ..Self::default() }
    }
}

/// How rotary positions are extended beyond the context that the model was trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RopeScaling {
    #[default]
    None,
    /// All are divided by the factor.
    Linear,
    Yarn,
}

impl RopeScaling {
    /// All there are.
    pub(super) const ALL: [Self; 3] = [Self::Yarn, Self::Linear, Self::None];

    /// Its name in a GGUF file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Linear => "linear",
            Self::Yarn => "yarn",
        }
    }
}

/// Which of `layers` layers slide if every `n`-th does not; all if `n` is zero.
pub(super) fn all_but_every(n: usize, layers: usize) -> Vec<bool> {
    (0..layers).map(|layer| n == 0 || layer % n < n - 1).collect()
}
