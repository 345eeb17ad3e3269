//! `q6_K`: super-blocks of 256 weights of 6 bits in sixteen sub-blocks with a signed scale each.
//!
//! Follows `quantize_row_q6_K_ref`, `quantize_row_q6_K_impl`, `dequantize_row_q6_K` and
//! `ggml_vec_dot_q6_K_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use bytemuck::{Pod, Zeroable};

use super::arrays::{map, sub_blocks, sub_blocks_mut};
use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::packing::next_level;
use super::row::SUPER_BLOCKS as BATCH;
use super::search::{self, SymmetricBatch};
use crate::simd::rounding::nearest_int;

/// 256 weights: `d * scale * (level - 32)`. Each half of 128 has 64 bytes of `ql`, with the lower
/// four bits of levels `j` and `j + 64` of the half in byte `j`, and 32 bytes of `qh`, with the
/// upper two bits of levels `j`, `j + 32`, `j + 64` and `j + 96` in byte `j`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ6K {
    ql: [u8; 128],
    qh: [u8; 64],
    scales: [i8; 16],
    d: F16Le,
}
assert_layout!(BlockQ6K);

impl BlockQ6K {
    #[inline(always)]
    fn new<S: Search>(
        search: S,
        x: &[f32; 256],
        scales: &[f32; 16],
        mut levels: [u8; 256],
    ) -> Self {
        let extreme = search::largest(scales);
        if extreme.abs() < search::EPSILON {
            return Self::zeroed();
        }
        let inverse = -128.0 / extreme;
        let d = F16Le::new(1.0 / inverse);
        let scales = map(*scales, |s| nearest_int(inverse * s).min(127) as i8);
        search.quotients(x, &map(scales, |scale| d.get() * f32::from(scale)), 32, &mut levels);
        let (ql, qh) = pack(&levels);
        Self { ql, qh, scales, d }
    }
}

/// The fields `ql` and `qh` of 256 levels.
#[inline(always)]
fn pack(levels: &[u8; 256]) -> ([u8; 128], [u8; 64]) {
    let (mut ql, mut qh) = ([0; 128], [0; 64]);
    let parts = ql.as_chunks_mut::<64>().0.iter_mut().zip(qh.as_chunks_mut::<32>().0);
    for (half, (ql, qh)) in levels.as_chunks::<128>().0.iter().zip(parts) {
        for j in 0..64 {
            ql[j] = half[j] & 15 | half[j + 64] << 4;
        }
        for (k, part) in half.as_chunks::<32>().0.iter().enumerate() {
            for (byte, level) in qh.iter_mut().zip(part) {
                *byte |= (level >> 4) << (2 * k);
            }
        }
    }
    (ql, qh)
}

impl Block for BlockQ6K {
    const TYPE: GgmlType = GgmlType::Q6_K;
    const LARGEST: f32 = F16_MAX * 128.0 * 32.0;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        for (x, importance, blocks) in row.batches::<BATCH, 256, _>(blocks) {
            let (mut levels, mut scales) = ([[0; 256]; BATCH], [[0.0; 16]; BATCH]);
            let (levels, scales) = (&mut levels[..x.len()], &mut scales[..x.len()]);
            search.run(SymmetricBatch {
                x: sub_blocks::<16, _>(x),
                max: 32,
                weights: importance.map(sub_blocks),
                levels: sub_blocks_mut(levels),
                scales: scales.as_flattened_mut(),
            });
            for (((x, levels), scales), block) in x.iter().zip(levels).zip(scales).zip(blocks) {
                *block = Self::new(search, x, scales, *levels);
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        let scales = map(self.scales, |scale| d * f32::from(scale));
        let mut pairs = scales.as_chunks::<2>().0.iter();
        let parts = self.ql.as_chunks::<64>().0.iter().zip(self.qh.as_chunks::<32>().0);
        for (half, (low, high)) in out.chunks_exact_mut(128).zip(parts) {
            let mut low: [[u8; 32]; 2] = bytemuck::cast(*low);
            let mut high = *high;
            for (k, (out, scales)) in half.chunks_exact_mut(32).zip(&mut pairs).enumerate() {
                let low = &mut low[k % 2];
                let mut weights = [0.0; 32];
                for (i, y) in weights.iter_mut().enumerate() {
                    let level = low[i] & 15 | (high[i] & 3) << 4;
                    *y = scales[i / 16] * f32::from(level as i8 - 32);
                }
                out.copy_from_slice(&weights);
                next_level::<4>(low);
                next_level::<2>(&mut high);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockQ6K {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 63, center: 32 };
    const SUB_SCALES: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let (half, part) = (group / 4, group as u32 % 4);
        let ql = set.load(&span[0].ql.as_chunks::<32>().0[2 * half + group % 2]);
        let qh = set.load(&span[0].qh.as_chunks::<32>().0[half]);
        set.or_above(set.field(ql, part / 2 * 4, 15), set.field(qh, 2 * part, 3), 4)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.splat_half(span[0].d.bits())
    }

    #[inline(always)]
    fn sub_scales(span: &[Self]) -> [i8; 16] {
        span[0].scales
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::dot;

    #[test]
    fn levels_survive_packing() {
        let levels: [u8; 256] = std::array::from_fn(|i| (i * 13 / 3 % 64) as u8);
        let (ql, qh) = pack(&levels);
        let block = BlockQ6K { ql, qh, ..BlockQ6K::zeroed() };
        assert_eq!(dot::levels_of(&[block]), levels);
    }
}
