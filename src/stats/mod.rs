//! Numbers that sum up others: percentiles with confidence intervals, ratios, perplexity, KL
//! divergence. Knows nothing of what is measured.

pub mod distribution;
pub mod divergence;
pub mod paired;
pub mod perplexity;
pub mod ratio;

pub use distribution::Distribution;
pub use paired::PairedRatio;
pub use ratio::Ratio;
