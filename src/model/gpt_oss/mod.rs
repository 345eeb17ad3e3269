//! gpt-oss: attention with sinks and alternating sliding windows, YaRN, mixture of experts.
//!
//! Sources: `gpt_oss/torch/model.py` of openai/gpt-oss, `modeling_gpt_oss.py` of transformers,
//! `src/models/openai-moe.cpp` of llama.cpp.

mod config;

pub use config::Config;
