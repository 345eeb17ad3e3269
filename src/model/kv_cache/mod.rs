//! Keys and values of the tokens so far. A layer with a sliding window keeps only what the window
//! and a chunk of new tokens can need, and overwrites the oldest.

mod layer;
mod store;

use serde::{Deserialize, Serialize};

use crate::compute::TILE;

pub use layer::LayerCache;

/// What keys and values are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KvCacheType {
    F32,
    F16,
    /// 8-bit integers, 32 of which share a scale in half precision, as ggml's `q8_0`.
    Q8_0,
}

impl KvCacheType {
    /// Bytes of `count` numbers, which are whole blocks; `None` if they overflow.
    pub fn bytes(self, count: usize) -> Option<u64> {
        let bytes = match self {
            Self::F32 => count.checked_mul(size_of::<f32>()),
            Self::F16 => count.checked_mul(size_of::<u16>()),
            Self::Q8_0 => count.checked_add(count / 32 * size_of::<u16>()),
        };
        bytes.map(|b| b as u64)
    }
}

/// What a cache is to hold.
#[derive(Clone, Debug)]
pub struct CacheShape<'a> {
    pub heads: usize,
    /// A multiple of 32 for [`KvCacheType::Q8_0`].
    pub head_dim: usize,
    /// For each layer how many keys a token sees, itself included; `None` for all.
    pub windows: &'a [Option<usize>],
    /// Tokens in all.
    pub capacity: usize,
    /// Tokens at most that come at once.
    pub chunk: usize,
    pub kind: KvCacheType,
}

impl CacheShape<'_> {
    /// Bytes of memory; `None` if no address space could hold them.
    pub fn bytes(&self) -> Option<u64> {
        self.windows.iter().try_fold(0u64, |sum, &window| {
            let slots = self.slots(window)?;
            let count = self.heads.checked_mul(self.head_dim)?.checked_mul(slots)?;
            sum.checked_add(self.kind.bytes(count)?.checked_mul(2)?)
        })
    }

    /// Positions that a layer has room for, in whole tiles. A chunk's first token sees a window
    /// when its last is there already.
    fn slots(&self, window: Option<usize>) -> Option<usize> {
        let needed = window.map_or(self.capacity, |w| {
            self.capacity.min(w.saturating_add(self.chunk.saturating_sub(1)))
        });
        needed.checked_next_multiple_of(TILE)
    }
}

/// Keys and values of all layers.
pub struct KvCache {
    layers: Vec<LayerCache>,
    windows: Vec<Option<usize>>,
    /// Where the token after the furthest one written since the cache was empty stands.
    end: usize,
}

impl KvCache {
    /// An empty cache. The caller has found [`CacheShape::bytes`] of memory to be available.
    pub fn new(shape: &CacheShape<'_>) -> Self {
        let layers = shape.windows.iter().map(|&window| {
            let slots = shape.slots(window).unwrap_or(usize::MAX);
            LayerCache::new(shape.heads, shape.head_dim, slots, shape.kind)
        });
        Self { layers: layers.collect(), windows: shape.windows.to_vec(), end: 0 }
    }

    /// Keeps keys and values of consecutive tokens, the first of which stands at `position`, in
    /// one layer: for each token a row of all heads.
    pub fn put(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let tokens = self.layers[layer].put(position, keys, values);
        self.end = self.end.max(position + tokens);
    }

    /// Keys and values of a layer.
    pub fn layer(&self, layer: usize) -> &LayerCache {
        &self.layers[layer]
    }

    /// How many keys a token of a layer sees, itself included; `None` for all.
    pub fn window(&self, layer: usize) -> Option<usize> {
        self.windows[layer]
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.end = 0;
    }

    /// The fewest tokens, other than none, after which the text can be taken up again: the next
    /// token's windows are all there.
    pub fn shortest_prefix(&self) -> usize {
        let layers = self.layers.iter().zip(&self.windows);
        let shortest = layers.filter_map(|(layer, window)| {
            let overwritten = self.end.saturating_sub(layer.slots());
            // A token that sees `window` keys needs the `window - 1` before it.
            window.filter(|_| overwritten > 0).map(|w| overwritten + w - 1)
        });
        shortest.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(windows: &[Option<usize>], capacity: usize, kind: KvCacheType) -> CacheShape<'_> {
        CacheShape { heads: 2, head_dim: 64, windows, capacity, chunk: 100, kind }
    }

    #[test]
    fn sliding_layers_take_their_window_and_a_chunk() {
        let token = 2 * 64 * 2 * 2;
        let f16 = KvCacheType::F16;
        assert_eq!(shape(&[None], 131_072, f16).bytes(), Some(131_072 * token));
        assert_eq!(shape(&[Some(128)], 131_072, f16).bytes(), Some(256 * token));
        assert_eq!(shape(&[Some(128), None], 100, f16).bytes(), Some(2 * 128 * token));
        assert_eq!(shape(&[None], 64, KvCacheType::F32).bytes(), Some(64 * token * 2));
        assert_eq!(shape(&[None], 64, KvCacheType::Q8_0).bytes(), Some(64 * token / 32 * 17));
        assert_eq!(shape(&[Some(usize::MAX)], 64, f16).bytes(), Some(64 * token));
    }

    #[test]
    fn a_cache_beyond_the_address_space_has_no_size() {
        for kind in [KvCacheType::F32, KvCacheType::F16, KvCacheType::Q8_0] {
            assert_eq!(shape(&[None], usize::MAX / 8, kind).bytes(), None);
            assert_eq!(shape(&[None], usize::MAX, kind).bytes(), None);
        }
    }

    #[test]
    fn a_text_is_taken_up_where_its_windows_are() {
        let mut cache = KvCache::new(&shape(&[Some(128), None], 1000, KvCacheType::F16));
        let row = [0.0; 128];
        let put = |cache: &mut KvCache, position| {
            cache.put(0, position, &row, &row);
            cache.put(1, position, &row, &row);
        };
        (0..256).for_each(|p| put(&mut cache, p));
        assert_eq!(cache.shortest_prefix(), 0);
        // The first token is overwritten; the token at 128 sees those from 1 on.
        put(&mut cache, 256);
        assert_eq!(cache.shortest_prefix(), 128);
        // Going back brings nothing overwritten back.
        put(&mut cache, 200);
        assert_eq!(cache.shortest_prefix(), 128);
        cache.clear();
        put(&mut cache, 0);
        assert_eq!(cache.shortest_prefix(), 0);
    }
}
