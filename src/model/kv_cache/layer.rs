//! Keys and values of one layer.

use std::ops::Range;

use super::KvCacheType;
use super::store::{Order, Store};
use crate::compute::{KeysAndValues, PANEL, TILE};

/// Keys and values of one layer, by head, then panel of positions. The panels are a ring: position
/// `p` is in slot `p % slots`.
pub struct LayerCache {
    heads: usize,
    head_dim: usize,
    slots: usize,
    keys: Store,
    values: Store,
}

impl LayerCache {
    /// An empty cache with room for `slots` positions, a multiple of [`TILE`]: tiles are whole.
    pub(super) fn new(heads: usize, head_dim: usize, slots: usize, kind: KvCacheType) -> Self {
        debug_assert!(slots.is_multiple_of(TILE));
        let store = |order| Store::new(kind, order, head_dim, heads * slots / PANEL);
        Self { heads, head_dim, slots, keys: store(Order::ByColumn), values: store(Order::ByRow) }
    }

    /// Positions there is room for.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Keeps keys and values of consecutive tokens, for each token a row of all heads; says how
    /// many tokens those are.
    pub(super) fn put(&mut self, position: usize, keys: &[f32], values: &[f32]) -> usize {
        let row = self.heads * self.head_dim;
        for (token, (keys, values)) in
            keys.chunks_exact(row).zip(values.chunks_exact(row)).enumerate()
        {
            let slot = (position + token) % self.slots;
            let heads = keys.chunks_exact(self.head_dim).zip(values.chunks_exact(self.head_dim));
            for (head, (key, value)) in heads.enumerate() {
                let panel = (head * self.slots + slot) / PANEL;
                self.keys.put(panel, slot % PANEL, key);
                self.values.put(panel, slot % PANEL, value);
            }
        }
        keys.len() / row
    }
}

impl KeysAndValues for LayerCache {
    fn read(&self, head: usize, panels: Range<usize>, keys: &mut [f32], values: &mut [f32]) {
        let ring = self.slots / PANEL;
        let start = head * ring + panels.start % ring;
        self.keys.read(start..start + panels.len(), keys);
        self.values.read(start..start + panels.len(), values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: usize = 32;

    /// Two heads, 128 slots, positions 100..300: the ring has been overwritten.
    fn filled(kind: KvCacheType) -> LayerCache {
        let mut cache = LayerCache::new(2, DIM, 128, kind);
        let row = |p: usize, sign: f32| -> Vec<f32> {
            (0..2 * DIM).map(|i| sign * number(p, i / DIM, i % DIM)).collect()
        };
        for p in (100..300).step_by(2) {
            let keys = [row(p, 1.0), row(p + 1, 1.0)].concat();
            let values = [row(p, -1.0), row(p + 1, -1.0)].concat();
            assert_eq!(cache.put(p, &keys, &values), 2);
        }
        cache
    }

    /// Small integers, with 127 in each block: exact in every type.
    fn number(position: usize, head: usize, element: usize) -> f32 {
        if element == 5 { 127.0 } else { ((position * 7 + head * 3 + element) % 100) as f32 }
    }

    #[test]
    fn what_was_put_comes_back_by_head_and_panel() {
        for kind in [KvCacheType::F32, KvCacheType::F16, KvCacheType::Q8_0] {
            let cache = filled(kind);
            let mut keys = vec![0.0; 2 * PANEL * DIM];
            let mut values = keys.clone();
            for (head, first) in [(0, 24), (1, 24), (1, 30), (0, 32)] {
                cache.read(head, first..first + 2, &mut keys, &mut values);
                for key in 0..2 * PANEL {
                    let position = first * PANEL + key;
                    for element in 0..DIM {
                        let expected = number(position, head, element);
                        let at = (key / PANEL * DIM + element) * PANEL + key % PANEL;
                        assert_eq!(keys[at], expected, "{kind:?} {position} {element}");
                        assert_eq!(values[key * DIM + element], -expected, "{kind:?} {position}");
                    }
                }
            }
        }
    }
}
