//! What a generated token makes the memory deliver.

use std::ops::Range;

use super::{KvCacheType, ModelError};
use crate::arch::{Architecture, Experts, Part, Reads};
use crate::gguf::{TensorInfo, TensorSource};

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
/// keys and values are kept in `kind`. That is its row of the embedding, the experts that are used, all of
/// every other tensor, and the keys and values that it sees, in the mean. Nothing is computed.
///
/// # Errors
/// If the architecture is unknown, or a hyperparameter is missing or impossible, or a tensor is
/// none of the architecture's.
pub fn decode_traffic(
    source: &dyn TensorSource,
    positions: Range<usize>,
    kind: KvCacheType,
) -> Result<DecodeTraffic, ModelError> {
    of(Architecture::of_metadata(source.metadata())?, source, positions, kind)
}

/// The same of a model of `architecture`.
pub(super) fn of(
    architecture: &Architecture,
    source: &dyn TensorSource,
    positions: Range<usize>,
    kind: KvCacheType,
) -> Result<DecodeTraffic, ModelError> {
    let hyper = architecture.from_metadata(source.metadata())?;
    let decoder = (architecture.decoder)(&hyper);
    let row_of = |tensor: &TensorInfo| architecture.row_of(&tensor.name, hyper.layers);
    let is_output = |tensor: &TensorInfo| row_of(tensor).is_some_and(|r| r.part == Part::Output);
    let tied = !source.tensors().iter().any(is_output);
    let mut weights = 0;
    for tensor in source.tensors() {
        let Some(row) = row_of(tensor) else {
            return Err(ModelError::other_tensor(architecture, &tensor.name, 0));
        };
        weights += match (row.part.reads(), decoder.experts) {
            // The output as well, of which all is read.
            (Reads::Row, _) if tied => tensor.bytes(),
            (Reads::Row, _) => tensor.row_bytes() as u64,
            // The experts are the slowest dimension, so each has as many bytes as the other.
            (Reads::UsedExperts, Some(Experts { count, used })) => {
                tensor.bytes() / count as u64 * used as u64
            }
            _ => tensor.bytes(),
        };
    }
    let count = positions.len().max(1) as u64;
    let windows = decoder.windows();
    let seen = |position: usize| -> u64 {
        windows.iter().map(|w| w.unwrap_or(usize::MAX).min(position + 1) as u64).sum()
    };
    let keys: u64 = positions.map(seen).sum();
    let key = kind.bytes(hyper.kv_heads * hyper.head_dim).unwrap_or(0);
    Ok(DecodeTraffic { weights, kv_cache: keys.saturating_mul(2 * key) / count })
}
