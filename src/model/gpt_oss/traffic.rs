//! What a generated token reads of a model.

use std::ops::Range;

use crate::arch::{Architecture, Hyper, Reads};
use crate::gguf::TensorInfo;
use crate::model::{DecodeTraffic, KvCacheType, ModelError};

/// What a token at one of `positions` reads, in the mean: its row of the embedding, the experts
/// that are used, all of every other tensor, and the keys and values that it sees.
pub fn decode_traffic(
    architecture: &Architecture,
    hyper: &Hyper,
    tensors: &[TensorInfo],
    positions: Range<usize>,
    kind: KvCacheType,
) -> Result<DecodeTraffic, ModelError> {
    let mut weights = 0;
    for tensor in tensors {
        let Some(row) = architecture.row_of(&tensor.name, hyper.layers) else {
            return Err(ModelError::other_tensor(architecture, &tensor.name, 0));
        };
        weights += match row.part.reads() {
            Reads::Row => tensor.row_bytes() as u64,
            // The experts are the slowest dimension, so each has as many bytes as the other.
            Reads::UsedExperts => tensor.bytes() / hyper.experts as u64 * hyper.experts_used as u64,
            Reads::All => tensor.bytes(),
        };
    }
    let count = positions.len().max(1) as u64;
    let windows = hyper.windows();
    let seen = |position: usize| -> u64 {
        windows.iter().map(|w| w.unwrap_or(usize::MAX).min(position + 1) as u64).sum()
    };
    let keys: u64 = positions.map(seen).sum();
    let key = kind.bytes(hyper.kv_heads * hyper.head_dim).unwrap_or(0);
    Ok(DecodeTraffic { weights, kv_cache: keys.saturating_mul(2 * key) / count })
}
