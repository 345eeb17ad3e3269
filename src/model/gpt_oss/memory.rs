//! What a text in progress takes of memory, known before any of it is taken.

use crate::compute::attention_bytes;
use crate::model::kv_cache::{CacheShape, KvCache, KvCacheType};
use crate::model::{ModelError, SessionMemory};

use crate::arch::Hyper;

impl Hyper {
    /// Whether sliding layers have other rotary angles than the rest.
    pub(super) fn slides_otherwise(&self) -> bool {
        self.rope_theta_sliding != self.rope_theta
    }

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
        let Self { hidden, heads, kv_heads, head_dim, experts, experts_used, .. } = *self;
        // Activations are held in f32 and, in at most half as many bytes, in 8 bits with scales.
        let activations = |columns: usize| columns + columns / 2;
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        // Sliding layers have angles of their own where their base is another.
        let angles = if self.slides_otherwise() { 2 * head_dim } else { head_dim };
        let attention = queries + 2 * keys + angles + activations(queries);
        // What is gated, down.
        let visit = activations(self.width) + hidden;
        // The stream, its norm, the projection.
        let stream = 2 * hidden + activations(hidden);
        attention + stream + experts + experts_used * visit
    }

    /// For each layer how many keys a token sees; `None` for all.
    pub(super) fn windows(&self) -> Vec<Option<usize>> {
        self.sliding.iter().map(|slides| slides.then_some(self.sliding_window)).collect()
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
