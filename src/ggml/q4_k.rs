//! `q4_K`: super-blocks of 256 weights of 4 bits in eight sub-blocks with a scale and a minimum each.
//!
//! Follows `quantize_row_q4_K_ref`, `quantize_row_q4_K_impl`, `dequantize_row_q4_K` and
//! `ggml_vec_dot_q4_K_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use bytemuck::{Pod, Zeroable};

use super::affine_sub_blocks::AffineSubBlocks;
use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Long, LongBytes, Set};
use super::packing::pack_four_bits;
use super::search::Steps;
use super::super_block::{self, PackedScales, SuperBlock};

/// 256 weights: `d * scale * level - dmin * min`, scale and min of the weight's sub-block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4K {
    d: F16Le,
    dmin: F16Le,
    scales: PackedScales,
    qs: [u8; 128],
}
assert_layout!(BlockQ4K);

const SEARCH: AffineSubBlocks<32, 8> =
    super_block::search(15, Steps { first: -1.0, step: 0.1, count: 20 }, u8::MAX);

impl BlockQ4K {
    #[inline(always)]
    fn pack(block: SuperBlock) -> Self {
        let SuperBlock { d, dmin, scales, levels } = block;
        Self { d, dmin, scales, qs: pack_four_bits(&levels) }
    }

    #[inline(always)]
    fn d_and_dmin(&self) -> (f32, f32) {
        (self.d.get(), self.dmin.get())
    }
}

impl Block for BlockQ4K {
    const TYPE: GgmlType = GgmlType::Q4_K;
    const LARGEST: f32 = F16_MAX * 63.0 * 15.0;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        SEARCH.quantize(search, row, blocks, |x, scales, levels| {
            Self::pack(SuperBlock::new(&SEARCH, x, scales, levels))
        });
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let level = |j, i| self.qs[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
        super_block::dequantize(self.d_and_dmin(), &self.scales, level, out);
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.dmin.is_finite()
    }
}

impl Levels for BlockQ4K {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 15, center: 0 };
    const MINS: bool = true;
    const LONG: Option<Long> = Some(Long::Pairs);

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let qs = set.load(&span[0].qs.as_chunks::<32>().0[group / 2]);
        set.field(qs, group as u32 % 2 * 4, 15)
    }

    #[inline(always)]
    fn nibbles(span: &[Self], piece: usize) -> &[u8; 16] {
        &span[0].qs.as_chunks().0[piece]
    }

    #[inline(always)]
    fn pair<S: LongBytes>(set: S, span: &[Self], pair: usize) -> S::Long {
        set.long_nibbles(&span[0].qs.as_chunks().0[pair])
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        super_block::group_scales(set, span[0].d, &span[0].scales)
    }

    #[inline(always)]
    fn mins(span: &[Self]) -> [i8; 16] {
        super_block::group_mins(&span[0].scales)
    }

    #[inline(always)]
    fn offsets<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.splat_half(span[0].dmin.bits() ^ 0x8000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::dot;

    #[test]
    fn levels_survive_packing() {
        let levels: [u8; 256] = std::array::from_fn(|i| (i * 13 / 3 % 16) as u8);
        let (d, dmin, scales) = (F16Le::new(1.0), F16Le::new(0.0), [0; 12]);
        let block = BlockQ4K::pack(SuperBlock { d, dmin, scales, levels });
        assert_eq!(dot::levels_of(&[block]), levels);
    }
}
