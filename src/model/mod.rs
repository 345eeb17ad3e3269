//! Architectures: configuration, tensor map, forward pass, KV cache, sampler. Knows nothing of
//! files or steps.

pub mod gpt_oss;
