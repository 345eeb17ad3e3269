//! `q5_K`: super-blocks of 256 weights of 5 bits in eight sub-blocks with a scale and a minimum each.
//!
//! Follows `quantize_row_q5_K_ref`, `quantize_row_q5_K_impl`, `dequantize_row_q5_K` and
//! `ggml_vec_dot_q5_K_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use bytemuck::{Pod, Zeroable};

use super::affine_sub_blocks::AffineSubBlocks;
use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::packing::{pack_bit, pack_four_bits};
use super::search::Steps;
use super::super_block::{self, PackedScales, SuperBlock};

/// 256 weights: `d * scale * level - dmin * min`, scale and min of the weight's sub-block; `qh` holds
/// the fifth bits.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5K {
    d: F16Le,
    dmin: F16Le,
    scales: PackedScales,
    qh: [u8; 32],
    qs: [u8; 128],
}
assert_layout!(BlockQ5K);

const SEARCH: AffineSubBlocks<32, 8> =
    super_block::search(31, Steps { first: -0.5, step: 0.1, count: 15 }, 63);

impl BlockQ5K {
    #[inline(always)]
    fn pack(block: SuperBlock) -> Self {
        let SuperBlock { d, dmin, scales, levels } = block;
        Self { d, dmin, scales, qh: pack_bit::<4>(&levels), qs: pack_four_bits(&levels) }
    }

    #[inline(always)]
    fn d_and_dmin(&self) -> (f32, f32) {
        (self.d.get(), self.dmin.get())
    }
}

impl Block for BlockQ5K {
    const TYPE: GgmlType = GgmlType::Q5_K;
    const LARGEST: f32 = F16_MAX * 63.0 * 31.0;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        SEARCH.quantize(search, row, blocks, |x, scales, levels| {
            Self::pack(SuperBlock::new(&SEARCH, x, scales, levels))
        });
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let level = |j, i| {
            let low = self.qs[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
            low | (self.qh[i] >> j & 1) << 4
        };
        super_block::dequantize(self.d_and_dmin(), &self.scales, level, out);
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.dmin.is_finite()
    }
}

impl Levels for BlockQ5K {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 31, center: 0 };
    const MINS: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let qs = set.load(&span[0].qs.as_chunks::<32>().0[group / 2]);
        let fifth = set.field(set.load(&span[0].qh), group as u32, 1);
        set.or_above(set.field(qs, group as u32 % 2 * 4, 15), fifth, 4)
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
        let levels: [u8; 256] = std::array::from_fn(|i| (i * 13 / 3 % 32) as u8);
        let (d, dmin, scales) = (F16Le::new(1.0), F16Le::new(0.0), [0; 12]);
        let block = BlockQ5K::pack(SuperBlock { d, dmin, scales, levels });
        assert_eq!(dot::levels_of(&[block]), levels);
    }
}
