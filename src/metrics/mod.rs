//! Statistics: percentiles with confidence intervals, ratios, perplexity, KL divergence, resident
//! memory; and the host they were measured on: its facts, its clocks, how fast it reads memory.
//! Knows nothing of the rest.

pub mod bandwidth;
pub mod clock;
pub mod distribution;
pub mod divergence;
pub mod host;
pub mod memory_limit;
pub mod paired;
pub mod perplexity;
pub mod ratio;
pub mod rss;

pub use clock::ClockRates;
pub use distribution::Distribution;
pub use paired::PairedRatio;
pub use ratio::Ratio;
