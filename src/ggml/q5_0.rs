//! `q5_0`: 32 weights of 5 bits with one scale.
//!
//! Follows `quantize_row_q5_0_ref`, `quantize_row_q5_0_impl`, `dequantize_row_q5_0` and
//! `ggml_vec_dot_q5_0_q8_0_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::blocks32::{SymmetricBlock, quantize_symmetric};
use super::dot::{LevelRange, Levels, Set};
use super::packing::{pack_nibbles, unpack_five_bits};
use super::scales;

/// 32 weights: `(level - 16) * d`; `qh` holds the fifth bits.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_0 {
    d: F16Le,
    qh: [u8; 4],
    qs: [u8; 16],
}
assert_layout!(BlockQ5_0);

impl BlockQ5_0 {
    #[inline(always)]
    fn levels(&self) -> [i8; 32] {
        unpack_five_bits(&self.qs, &self.qh).map(|level| level as i8 - 16)
    }
}

impl SymmetricBlock for BlockQ5_0 {
    const CENTER: i8 = 16;

    #[inline(always)]
    fn pack<S: Search>(search: S, d: F16Le, levels: &[u8; 32]) -> Self {
        Self { d, qh: search.fifth_bits(levels), qs: pack_nibbles(levels) }
    }
}

impl Block for BlockQ5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;
    const LARGEST: f32 = F16_MAX * 16.0;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        quantize_symmetric(search, row, blocks);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (y, level) in out.iter_mut().zip(self.levels()) {
            *y = f32::from(level) * d;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockQ5_0 {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 31, center: 16 };

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let Self { qh, qs, .. } = &span[group];
        set.or_above(set.nibbles(qs), set.spread(u32::from_le_bytes(*qh), 16), 0)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        scales::of_blocks(set, span.iter().map(|block| block.d))
    }
}
