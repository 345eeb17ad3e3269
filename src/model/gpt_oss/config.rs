//! The hyperparameters of a gpt-oss model, whichever file they came from.

/// Hyperparameters of a gpt-oss model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
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
    /// Width inside one expert.
    pub expert_width: usize,
    pub vocab: usize,
    /// Longest context the model was made for, in tokens.
    pub context: usize,
    pub rms_eps: f32,
    pub rope_theta: f32,
    /// Base of the sliding layers' rotary angles.
    pub rope_theta_sliding: f32,
    /// Whether positions are extended by YaRN; where not, all are divided by the factor.
    pub rope_yarn: bool,
    /// The context's extension factor.
    pub rope_factor: f32,
    /// What cosines and sines are multiplied by, over what YaRN multiplies them by; 1 for none.
    pub rope_attention_factor: f32,
    /// Context before YaRN's extension.
    pub rope_original_context: usize,
    pub rope_beta_fast: f32,
    pub rope_beta_slow: f32,
    /// Tokens that a sliding layer sees.
    pub sliding_window: usize,
    /// For each layer whether it slides; the others see everything.
    pub sliding: Vec<bool>,
    /// Bound on the experts' gate and up values.
    pub swiglu_limit: f32,
}

impl Config {
    /// Whether sliding layers have other rotary angles than the rest.
    pub(super) fn slides_otherwise(&self) -> bool {
        self.rope_theta_sliding != self.rope_theta
    }
}

/// Which of `layers` layers slide if every `n`-th does not: in published models `n` is 2, and even
/// layers slide.
pub(super) fn all_but_every(n: usize, layers: usize) -> Vec<bool> {
    (0..layers).map(|layer| layer % n < n - 1).collect()
}
