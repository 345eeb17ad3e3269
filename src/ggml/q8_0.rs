//! `q8_0`: 32 weights as 8-bit integers with one scale. Also a form of activations.
//!
//! Follows `quantize_row_q8_0_ref`, `dequantize_row_q8_0` and `ggml_vec_dot_q8_0_q8_0_generic` of
//! llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::rules::{BATCH, inverse};
use super::scales;

/// 32 weights: `qs[i] * d`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8_0 {
    pub(super) d: F16Le,
    pub(super) qs: [i8; 32],
}
assert_layout!(BlockQ8_0);

impl Block for BlockQ8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;
    const LARGEST: f32 = F16_MAX * 127.0;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        for (x, blocks) in row.x.as_chunks::<32>().0.chunks(BATCH).zip(blocks.chunks_mut(BATCH)) {
            let scales = search.largest_magnitudes(x).map(|v| v / 127.0);
            let scales = scales.map(inverse).into_iter().zip(search.narrow(&scales));
            for ((x, block), (inverse, d)) in x.iter().zip(blocks).zip(scales) {
                *block = Self { d, qs: search.rounded_away(x, inverse) };
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        // All before any is written: the compiler does not know that `out` is not the block, and
        // takes weight after weight otherwise. Tried `map`: its closure is a function of its own,
        // compiled without the set's instructions.
        let mut weights = [0.0; 32];
        for (y, &q) in weights.iter_mut().zip(&self.qs) {
            *y = f32::from(q) * d;
        }
        out.copy_from_slice(&weights);
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockQ8_0 {
    const RANGE: LevelRange = LevelRange::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        set.load(bytemuck::cast_ref(&span[group].qs))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        scales::of_blocks(set, span.iter().map(|block| block.d))
    }
}
