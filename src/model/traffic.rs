//! What a generated token makes the memory deliver.

use std::ops::Range;

use super::{KvCacheType, ModelError, gpt_oss};
use crate::arch::Architecture;
use crate::gguf::TensorSource;

/// Bytes that generating one token reads. Each counts once, and as if no cache held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeTraffic {
    /// Weights, as the file stores them.
    pub weights: u64,
    /// Keys and values of the tokens before and of the token itself.
    pub kv_cache: u64,
}

impl DecodeTraffic {
    /// Both together.
    pub fn total(&self) -> u64 {
        self.weights + self.kv_cache
    }
}

/// What a token at one of `positions`, each as likely as the other, reads of the model `source`;
/// keys and values are kept in `kind`. Nothing is computed.
///
/// # Errors
/// If the architecture is unknown, or a hyperparameter is missing or impossible, or a tensor is
/// none of the architecture's.
pub fn decode_traffic(
    source: &dyn TensorSource,
    positions: Range<usize>,
    kind: KvCacheType,
) -> Result<DecodeTraffic, ModelError> {
    let architecture = Architecture::of_metadata(source.metadata())?;
    let hyper = architecture.from_metadata(source.metadata())?;
    gpt_oss::decode_traffic(architecture, &hyper, source.tensors(), positions, kind)
}
