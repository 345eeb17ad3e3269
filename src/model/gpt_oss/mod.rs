//! gpt-oss: attention with sinks and alternating sliding windows, YaRN, mixture of experts.
//!
//! Sources: `gpt_oss/torch/model.py` of openai/gpt-oss, `modeling_gpt_oss.py` of transformers,
//! `src/models/openai-moe.cpp` of llama.cpp.

mod memory;
mod moe;
mod network;
mod rope;
mod traffic;
mod weights;

pub use network::{Network, State};
pub use traffic::decode_traffic;
