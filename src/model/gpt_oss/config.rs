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
    /// YaRN's context extension factor.
    pub rope_factor: f32,
    /// Context before YaRN's extension.
    pub rope_original_context: usize,
    pub rope_beta_fast: f32,
    pub rope_beta_slow: f32,
    /// Tokens that a sliding layer sees; even layers slide, odd ones see everything.
    pub sliding_window: usize,
    /// Bound on the experts' gate and up values.
    pub swiglu_limit: f32,
}
