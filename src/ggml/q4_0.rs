//! `q4_0`: 32 weights of 4 bits with one scale.
//!
//! Follows `quantize_row_q4_0_ref`, `quantize_row_q4_0_impl`, `dequantize_row_q4_0` and
//! `ggml_vec_dot_q4_0_q8_0_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::blocks32::{SymmetricBlock, quantize_symmetric};
use super::dot::{LevelRange, Levels, Long, Set};
use super::packing::{pack_nibbles, unpack_nibbles};
use super::scales;

/// 32 weights: `(level - 8) * d`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_0 {
    d: F16Le,
    qs: [u8; 16],
}
assert_layout!(BlockQ4_0);

impl BlockQ4_0 {
    #[inline(always)]
    fn levels(&self) -> [i8; 32] {
        unpack_nibbles(&self.qs).map(|level| level as i8 - 8)
    }
}

impl SymmetricBlock for BlockQ4_0 {
    const CENTER: i8 = 8;

    #[inline(always)]
    fn pack<S: Search>(_: S, d: F16Le, levels: &[u8; 32]) -> Self {
        Self { d, qs: pack_nibbles(levels) }
    }
}

impl Block for BlockQ4_0 {
    const TYPE: GgmlType = GgmlType::Q4_0;
    const LARGEST: f32 = F16_MAX * 8.0;
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

impl Levels for BlockQ4_0 {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 15, center: 8 };
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
}
