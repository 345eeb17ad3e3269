//! Statistics: percentiles with confidence intervals, perplexity, KL divergence, resident memory,
//! and the facts of the host they were measured on. Knows nothing of the rest.

pub mod distribution;
pub mod divergence;
pub mod host;
pub mod perplexity;
pub mod ratio;
pub mod rss;

pub use distribution::Distribution;
pub use ratio::Ratio;
