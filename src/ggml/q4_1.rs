//! `q4_1`: 32 weights of 4 bits with one scale and one minimum.
//!
//! Follows `quantize_row_q4_1_ref`, `quantize_row_q4_1_impl`, `dequantize_row_q4_1` and
//! `ggml_vec_dot_q4_1_q8_1_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::blocks32::{AffineBlock, quantize_affine};
use super::dot::{LevelRange, Levels, Long, Set};
use super::packing::{pack_nibbles, unpack_nibbles};
use super::scales;

/// 32 weights: `level * d + m`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_1 {
    d: F16Le,
    m: F16Le,
    qs: [u8; 16],
}
assert_layout!(BlockQ4_1);

impl AffineBlock for BlockQ4_1 {
    const MAX: i8 = 15;

    #[inline(always)]
    fn pack<S: Search>(_: S, d: F16Le, m: F16Le, levels: &[u8; 32]) -> Self {
        Self { d, m, qs: pack_nibbles(levels) }
    }
}

impl Block for BlockQ4_1 {
    const TYPE: GgmlType = GgmlType::Q4_1;
    const LARGEST: f32 = F16_MAX * 16.0;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        quantize_affine(search, row, blocks);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, m) = (self.d.get(), self.m.get());
        let mut weights = [0.0; 32];
        for (y, level) in weights.iter_mut().zip(unpack_nibbles(&self.qs)) {
            *y = f32::from(level) * d + m;
        }
        out.copy_from_slice(&weights);
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.m.is_finite()
    }
}

impl Levels for BlockQ4_1 {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 15, center: 0 };
    const MINS: bool = true;
    const LONG: Option<Long> = Some(Long::Halves);

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        set.nibbles(&span[group].qs)
    }

    #[inline(always)]
    fn nibbles(span: &[Self], piece: usize) -> &[u8; 16] {
        &span[piece].qs
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        scales::of_blocks(set, span.iter().map(|block| block.d))
    }

    #[inline(always)]
    fn mins(_: &[Self]) -> [i8; 16] {
        [1; 16]
    }

    #[inline(always)]
    fn offsets<S: Set>(set: S, span: &[Self]) -> S::F32 {
        scales::of_blocks(set, span.iter().map(|block| block.m))
    }
}
