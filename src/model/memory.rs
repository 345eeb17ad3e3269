//! What a text in progress takes of memory, known before any of it is taken.

use crate::arch::{Decoder, Experts};
use crate::compute::attention_bytes;

use super::ModelError;
use super::kv_cache::{CacheShape, KvCache, KvCacheType};

/// Bytes that a session takes at most, but for the logits of more than one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMemory {
    /// Keys and values.
    pub cache: u64,
    /// What chunks of tokens are computed in.
    pub buffers: u64,
}

impl SessionMemory {
    /// Both together.
    pub fn total(&self) -> u64 {
        self.cache.saturating_add(self.buffers)
    }
}

impl Decoder {
    /// An empty cache for `tokens` tokens, of which at most `chunk` come at once.
    pub(super) fn cache(&self, tokens: usize, chunk: usize, kind: KvCacheType) -> KvCache {
        KvCache::new(&self.shape(&self.windows(), tokens, chunk, kind))
    }

    /// Whether keys and values can be kept in the type.
    ///
    /// # Errors
    /// [`ModelError::CacheType`] if a head is not of whole blocks.
    pub fn check_cache(&self, kind: KvCacheType) -> Result<(), ModelError> {
        if kind == KvCacheType::Q8_0 && !self.head_dim.is_multiple_of(32) {
            return Err(ModelError::CacheType { head_dim: self.head_dim });
        }
        Ok(())
    }

    /// What a text of `tokens` tokens takes, of which at most `chunk` are read at once.
    pub fn memory(
        &self,
        tokens: usize,
        chunk: usize,
        threads: usize,
        kind: KvCacheType,
    ) -> SessionMemory {
        let cache = self.shape(&self.windows(), tokens, chunk, kind).bytes();
        let floats = self.floats_per_token().saturating_mul(chunk).saturating_add(self.vocab);
        let attention = attention_bytes(self.heads, self.kv_heads, self.head_dim, tokens, threads);
        SessionMemory {
            cache: cache.unwrap_or(u64::MAX),
            buffers: (floats as u64).saturating_mul(4).saturating_add(attention),
        }
    }

    /// Numbers of f32's size that the buffers of a forward pass hold per token at most: what the
    /// network's state and the experts' buffers are resized to.
    fn floats_per_token(&self) -> usize {
        let Self { hidden, heads, kv_heads, head_dim, .. } = *self;
        let Experts { count: experts, used } =
            self.experts.unwrap_or(Experts { count: 0, used: 1 });
        // Activations are held in f32 and, in at most half as many bytes, in 8 bits with scales.
        let activations = |columns: usize| columns + columns / 2;
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let angles = self.ropes.len() * head_dim;
        let attention = queries + 2 * keys + angles + activations(queries);
        // What is gated, down.
        let visit = activations(self.width) + hidden;
        // The stream, its norm, the projection.
        let stream = 2 * hidden + activations(hidden);
        attention + stream + experts + used * visit
    }

    /// For each layer how many keys a token sees; `None` for all.
    pub(super) fn windows(&self) -> Vec<Option<usize>> {
        self.layers.iter().map(|layer| layer.window).collect()
    }

    fn shape<'a>(
        &self,
        windows: &'a [Option<usize>],
        capacity: usize,
        chunk: usize,
        kind: KvCacheType,
    ) -> CacheShape<'a> {
        let Self { kv_heads: heads, head_dim, .. } = *self;
        CacheShape { heads, head_dim, windows, capacity, chunk, kind }
    }
}
