//! `q5_1`: 32 weights of 5 bits with one scale and one minimum.
//!
//! Follows `quantize_row_q5_1_ref`, `quantize_row_q5_1_impl`, `dequantize_row_q5_1` and
//! `ggml_vec_dot_q5_1_q8_1_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::blocks32::{AffineBlock, quantize_affine};
use super::dot::{LevelRange, Levels, Set};
use super::packing::{pack_nibbles, unpack_five_bits};
use super::scales;

/// 32 weights: `level * d + m`; `qh` holds the fifth bits.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_1 {
    d: F16Le,
    m: F16Le,
    qh: [u8; 4],
    qs: [u8; 16],
}
assert_layout!(BlockQ5_1);

impl AffineBlock for BlockQ5_1 {
    const MAX: i8 = 31;

    #[inline(always)]
    fn pack<S: Search>(search: S, d: F16Le, m: F16Le, levels: &[u8; 32]) -> Self {
        Self { d, m, qh: search.fifth_bits(levels), qs: pack_nibbles(levels) }
    }
}

impl Block for BlockQ5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const LARGEST: f32 = F16_MAX * 32.0;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        quantize_affine(search, row, blocks);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, m) = (self.d.get(), self.m.get());
        for (y, level) in out.iter_mut().zip(unpack_five_bits(&self.qs, &self.qh)) {
            *y = f32::from(level) * d + m;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.m.is_finite()
    }
}

impl Levels for BlockQ5_1 {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 31, center: 0 };
    const MINS: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let Self { qh, qs, .. } = &span[group];
        set.or_above(set.nibbles(qs), set.spread(u32::from_le_bytes(*qh), 16), 0)
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
