//! `iq4_xs`: super-blocks of 256 weights of 4 bits on uneven levels in eight sub-blocks with a signed
//! scale each.
//!
//! Follows `quantize_iq4_xs`, `dequantize_row_iq4_xs` and `ggml_vec_dot_iq4_xs_q8_K_generic` of
//! llama.cpp, the last with integer sums over a whole super-block.

use bytemuck::{Pod, Zeroable};

use super::arrays::sub_blocks;
use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::packing::{less_32, pack_nibbles, spread_nibbles, spread_two_bits};
use super::row::SUPER_BLOCKS as BATCH;
use super::scales;
use super::search;
use super::search::codebook::{self, LevelBatch, ScaleBatch};
use crate::simd::rounding::nearest_int;

/// 256 weights: `d * (scale - 32) * VALUES[level]`. The lower four bits of the scale of sub-block `j`
/// are nibble `j` of `scales_l`, the upper two are bits `2 j` and `2 j + 1` of `scales_h`, both
/// little-endian.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq4Xs {
    d: F16Le,
    scales_h: [u8; 2],
    scales_l: [u8; 4],
    qs: [[u8; 16]; 8],
}
assert_layout!(BlockIq4Xs);

impl BlockIq4Xs {
    /// Packs the scales; gives the block without its levels, and by what to multiply each sub-block's
    /// weights for them.
    #[inline(always)]
    fn new(scales: &[f32; 8]) -> (Self, [f32; 8]) {
        let d = -search::largest(scales) / 32.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let mut block = Self { d: F16Le::new(d), ..Self::zeroed() };
        let mut inverses = [0.0; 8];
        for (j, scale) in scales.iter().enumerate() {
            let level = nearest_int(inverse * scale).clamp(-32, 31);
            let scale = d * level as f32;
            inverses[j] = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let level = (level + 32) as u8;
            block.scales_l[j / 2] |= (level & 15) << (j % 2 * 4);
            block.scales_h[j / 4] |= (level >> 4) << (j % 4 * 2);
        }
        (block, inverses)
    }

    /// The scales of the sub-blocks, in units of `d`.
    #[inline(always)]
    fn scales(&self) -> [i8; 8] {
        less_32(spread_nibbles(self.scales_l) | spread_two_bits(self.scales_h) << 4)
    }
}

impl Block for BlockIq4Xs {
    const TYPE: GgmlType = GgmlType::IQ4_XS;
    const LARGEST: f32 = F16_MAX * 32.0 * 127.0;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        for (x, importance, blocks) in row.batches::<BATCH, 256, _>(blocks) {
            let (mut weights, mut scales) = ([[0.0; 256]; BATCH], [[0.0; 8]; BATCH]);
            let (weights, scales) = (&mut weights[..x.len()], &mut scales[..x.len()]);
            let weights = match importance {
                None => None,
                Some(importance) => {
                    search::weigh_blocks(x, importance, 2.0, weights);
                    Some(sub_blocks(weights))
                }
            };
            let all = scales.as_flattened_mut();
            search.run(ScaleBatch { x: sub_blocks(x), weights, scales: all });
            for ((x, scales), block) in x.iter().zip(scales).zip(blocks) {
                let (found, inverses) = Self::new(scales);
                *block = found;
                let mut levels = [[0; 32]; 8];
                let x = x.as_chunks().0;
                search.run(LevelBatch { x, inverses: &inverses, levels: &mut levels });
                for (qs, levels) in block.qs.iter_mut().zip(&levels) {
                    *qs = pack_nibbles(levels);
                }
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for ((out, qs), scale) in out.chunks_exact_mut(32).zip(&self.qs).zip(self.scales()) {
            codebook::dequantize(d * f32::from(scale), qs, out);
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq4Xs {
    const RANGE: LevelRange = LevelRange::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        set.lookup(&codebook::VALUES, set.nibbles(&span[0].qs[group]))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        scales::of_groups(set, span[0].d, span[0].scales())
    }
}
