//! Published checkpoints (safetensors, both layouts) as a [`crate::gguf::TensorSource`]. Knows nothing of GGUF writing.
