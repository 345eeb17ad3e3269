//! gpt-oss: attention with sinks and alternating sliding windows, YaRN, mixture of experts.
//!
//! Sources: `gpt_oss/torch/model.py` of openai/gpt-oss, `modeling_gpt_oss.py` of transformers,
//! `src/models/openai-moe.cpp` of llama.cpp.

mod config;
mod config_json;
mod from_metadata;
mod memory;
mod moe;
mod network;
mod rope;
mod tensor_map;
mod tensor_names;
mod traffic;
mod weights;

pub use config::Config;
pub use config_json::ConfigError;
pub use network::{Network, State};
pub use tensor_map::{ExpertWeights, Layout, Mapped, Source, Stored, mxfp4_probe, tensor_map};

/// The name in `general.architecture`.
pub const ARCHITECTURE: &str = "gpt-oss";
