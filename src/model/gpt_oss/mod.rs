//! gpt-oss: attention with sinks and alternating sliding windows, YaRN, mixture of experts.
//!
//! Sources: `gpt_oss/torch/model.py` of openai/gpt-oss, `modeling_gpt_oss.py` of transformers,
//! `src/models/openai-moe.cpp` of llama.cpp.

mod attention;
mod config;
mod from_metadata;
mod moe;
mod network;
mod rope;
mod weights;

pub use config::Config;
pub use network::{Network, State};

/// The name in `general.architecture`.
pub const ARCHITECTURE: &str = "gpt-oss";
