//! What a generated token reads of a gpt-oss model.

use std::ops::Range;

use super::Config;
use super::tensor_names::{Part, part};
use crate::gguf::TensorInfo;
use crate::model::{DecodeTraffic, KvCacheType};

impl Config {
    /// What a token at one of `positions` reads, in the mean: its row of the embedding, the experts
    /// that are used, all of every other tensor, and the keys and values that it sees.
    pub fn decode_traffic(
        &self,
        tensors: &[TensorInfo],
        positions: Range<usize>,
        kind: KvCacheType,
    ) -> DecodeTraffic {
        let weights = tensors.iter().map(|tensor| self.weight_bytes(tensor)).sum();
        let count = positions.len().max(1) as u64;
        let windows = self.windows();
        let seen = |position: usize| -> u64 {
            windows.iter().map(|w| w.unwrap_or(usize::MAX).min(position + 1) as u64).sum()
        };
        let keys: u64 = positions.map(seen).sum();
        let key = kind.bytes(self.kv_heads * self.head_dim).unwrap_or(0);
        DecodeTraffic { weights, kv_cache: keys.saturating_mul(2 * key) / count }
    }

    /// Bytes of a tensor that one token reads; none of one that the network does not know.
    fn weight_bytes(&self, tensor: &TensorInfo) -> u64 {
        match part(&tensor.name, self.layers) {
            Some(Part::Embedding) => tensor.row_bytes() as u64,
            // The experts are the slowest dimension, so each has as many bytes as the other.
            Some(Part::Experts) => tensor.bytes() / self.experts as u64 * self.experts_used as u64,
            Some(Part::Whole) => tensor.bytes(),
            None => 0,
        }
    }
}
