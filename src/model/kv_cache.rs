//! Keys and values of the tokens so far, per layer.

use std::ops::Range;

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// Keys and values of one layer, by head, then position, then element.
pub struct LayerCache {
    heads: usize,
    head_dim: usize,
    capacity: usize,
    keys: Store,
    values: Store,
}

/// Numbers of the precision a session keeps.
enum Store {
    F32(Vec<f32>),
    /// The bits of half-precision floats: a `Vec` of integers comes zeroed from the system, page
    /// by page as it is used.
    F16(Vec<u16>),
}

/// Room for a run of keys or values in f32.
#[derive(Default)]
pub struct Scratch(Vec<f32>);

/// Bytes that a layer's cache takes; `None` if no address space could hold it.
pub fn layer_bytes(heads: usize, head_dim: usize, capacity: usize, exact: bool) -> Option<u64> {
    let element = if exact { size_of::<f32>() } else { size_of::<f16>() };
    let count = heads.checked_mul(head_dim)?.checked_mul(capacity)?;
    count.checked_mul(2 * element).map(|bytes| bytes as u64)
}

impl LayerCache {
    /// An empty cache for `capacity` tokens; in f32 if `exact`, in f16 otherwise. The caller has
    /// found [`layer_bytes`] of memory to be available.
    pub fn new(heads: usize, head_dim: usize, capacity: usize, exact: bool) -> Self {
        let store = || match exact {
            true => Store::F32(vec![0.0; heads * head_dim * capacity]),
            false => Store::F16(vec![0; heads * head_dim * capacity]),
        };
        Self { heads, head_dim, capacity, keys: store(), values: store() }
    }

    /// Keeps the key and the value of the token at `position`: for each head, one after the other.
    pub fn put(&mut self, position: usize, key: &[f32], value: &[f32]) {
        for head in 0..self.heads {
            let from = head * self.head_dim..(head + 1) * self.head_dim;
            let at = self.offset(head, position);
            self.keys.put(at, &key[from.clone()]);
            self.values.put(at, &value[from]);
        }
    }

    /// Keys of one head at `positions`.
    pub fn keys<'a>(
        &'a self,
        head: usize,
        positions: Range<usize>,
        scratch: &'a mut Scratch,
    ) -> &'a [f32] {
        self.keys.get(self.offset(head, positions.start), positions.len() * self.head_dim, scratch)
    }

    /// Values of one head at `positions`.
    pub fn values<'a>(
        &'a self,
        head: usize,
        positions: Range<usize>,
        scratch: &'a mut Scratch,
    ) -> &'a [f32] {
        self.values.get(
            self.offset(head, positions.start),
            positions.len() * self.head_dim,
            scratch,
        )
    }

    fn offset(&self, head: usize, position: usize) -> usize {
        (head * self.capacity + position) * self.head_dim
    }
}

impl Store {
    fn put(&mut self, at: usize, from: &[f32]) {
        match self {
            Store::F32(v) => v[at..at + from.len()].copy_from_slice(from),
            Store::F16(v) => {
                let to: &mut [f16] = v[at..at + from.len()].reinterpret_cast_mut();
                to.convert_from_f32_slice(from);
            }
        }
    }

    fn get<'a>(&'a self, at: usize, len: usize, scratch: &'a mut Scratch) -> &'a [f32] {
        match self {
            Store::F32(v) => &v[at..at + len],
            Store::F16(v) => {
                scratch.0.resize(len, 0.0);
                let from: &[f16] = v[at..at + len].reinterpret_cast();
                from.convert_to_f32_slice(&mut scratch.0);
                &scratch.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back_by_head() {
        for exact in [false, true] {
            let mut cache = LayerCache::new(2, 8, 3, exact);
            let mut scratch = Scratch::default();
            for position in 0..3 {
                let key: Vec<f32> = (0..16).map(|i| (position * 100 + i) as f32).collect();
                let value: Vec<f32> = key.iter().map(|k| -k).collect();
                cache.put(position, &key, &value);
            }
            let expected: Vec<f32> =
                (0..16).map(|i| (100 + i / 8 * 100 + 8 + i % 8) as f32).collect();
            assert_eq!(cache.keys(1, 1..3, &mut scratch), expected);
            let negative: Vec<f32> = expected.iter().map(|k| -k).collect();
            assert_eq!(cache.values(1, 1..3, &mut scratch), negative);
        }
    }

    #[test]
    fn a_cache_beyond_the_address_space_has_no_size() {
        assert_eq!(layer_bytes(8, 64, 4096, false), Some(8 * 64 * 4096 * 2 * 2));
        assert_eq!(layer_bytes(8, 64, usize::MAX / 8, true), None);
    }
}
