//! `q3_K`: super-blocks of 256 weights of 3 bits in sixteen sub-blocks with a signed scale each.
//!
//! Follows `quantize_row_q3_K_ref`, `quantize_row_q3_K_impl`, `dequantize_row_q3_K` and
//! `ggml_vec_dot_q3_K_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use bytemuck::{Pod, Zeroable};

use super::arrays::{map, sub_blocks, sub_blocks_mut};
use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::packing::{join, less_32, next_level, pack_bit, pack_two_bits, words};
use super::row::{MANY_SUPER_BLOCKS as MANY, SUPER_BLOCKS as BATCH};
use super::rules;
use super::search::{self, RefinedBatch, SymmetricBatch};
use crate::simd::rounding::nearest_int;

/// 256 weights: `d * (scale - 32) * (level - 4)`; `hmask` holds the third bits of the levels.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ3K {
    hmask: [u8; 32],
    qs: [u8; 64],
    scales: [u8; 12],
    d: F16Le,
}
assert_layout!(BlockQ3K);

/// Sixteen scales of 6 bits: the lower four in the nibbles of bytes 0 to 7 (8 to 15 in the high
/// ones), the upper two of scale `j` in byte `8 + j % 4`, from bit `2 (j / 4)` on.
#[inline(always)]
fn pack_scales(scales: &[u8; 16]) -> [u8; 12] {
    let mut packed = [0; 12];
    for (j, scale) in scales.iter().enumerate() {
        packed[j % 8] |= (scale & 15) << (j / 8 * 4);
        packed[8 + j % 4] |= (scale >> 4) << (j / 4 * 2);
    }
    packed
}

/// Inverse of [`pack_scales`], less 32.
#[inline(always)]
fn unpack_scales(packed: &[u8; 12]) -> [i8; 16] {
    let [a, b, high] = words(packed);
    let level = |low: u32, k: u32| low & 0x0f0f_0f0f | (high >> (2 * k) & 0x0303_0303) << 4;
    let levels = [join(level(a, 0), level(b, 1)), join(level(a >> 4, 2), level(b >> 4, 3))];
    bytemuck::cast([less_32(levels[0]), less_32(levels[1])])
}

impl BlockQ3K {
    /// Quantizes super-blocks of which nothing but the weights is known.
    #[inline(always)]
    fn quantize<S: Search>(search: S, x: &[[f32; 256]], blocks: &mut [Self]) {
        let (mut levels, mut scales) = ([[0; 256]; MANY], [[0.0; 16]; MANY]);
        let (levels, scales) = (&mut levels[..x.len()], &mut scales[..x.len()]);
        search.run(RefinedBatch {
            x: sub_blocks::<16, _>(x),
            max: 4,
            levels: sub_blocks_mut(levels),
            scales: scales.as_flattened_mut(),
        });
        let mut extremes = [[0.0; rules::BATCH]; MANY / rules::BATCH];
        for (scales, extremes) in scales.chunks(rules::BATCH).zip(&mut extremes) {
            *extremes = search.largest(scales);
        }
        let found = levels.iter().zip(scales).zip(extremes.as_flattened());
        for ((x, block), ((levels, scales), &extreme)) in x.iter().zip(blocks).zip(found) {
            *block = if extreme == 0.0 {
                Self::new(search, x, 0.0, &[0; 16], *levels)
            } else {
                let inverse = -32.0 / extreme;
                let level = |s: f32| (nearest_int(inverse * s).clamp(-32, 31) + 32) as u8;
                Self::new(search, x, 1.0 / inverse, &map(*scales, level), *levels)
            };
        }
    }

    #[inline(always)]
    fn quantize_weighted<S: Search>(
        search: S,
        x: &[[f32; 256]],
        importance: &[[f32; 256]],
        blocks: &mut [Self],
    ) {
        let n = x.len();
        let mut weights = [[0.0; 256]; BATCH];
        let weights = &mut weights[..n];
        search::weigh_blocks(x, importance, 2.0, weights);
        let weights = sub_blocks::<16, _>(weights);
        let (mut levels, mut scales) = ([[0; 256]; BATCH], [[0.0; 16]; BATCH]);
        search.run(SymmetricBatch {
            x: sub_blocks::<16, _>(x),
            max: 4,
            weights: Some(weights),
            levels: sub_blocks_mut(&mut levels[..n]),
            scales: scales[..n].as_flattened_mut(),
        });

        let mut sums = [[0.0; 16]; BATCH];
        for (sum, weights) in sums.as_flattened_mut().iter_mut().zip(weights) {
            *sum = search::sum(weights);
        }
        let (mut scale_levels, mut d) = ([[0; 16]; BATCH], [0.0; BATCH]);
        search.run(SymmetricBatch {
            x: &scales[..n],
            max: 32,
            weights: Some(&sums[..n]),
            levels: &mut scale_levels[..n],
            scales: &mut d[..n],
        });
        for (((x, block), (scales, d)), levels) in
            x.iter().zip(blocks).zip(scale_levels.iter().zip(d)).zip(levels)
        {
            *block = Self::new(search, x, d, scales, levels);
        }
    }

    /// Packs the scales, and rounds the weights once more, to the scales as they are stored.
    #[inline(always)]
    fn new<S: Search>(
        search: S,
        x: &[f32; 256],
        d: f32,
        scales: &[u8; 16],
        mut levels: [u8; 256],
    ) -> Self {
        let d = F16Le::new(d);
        let scales = pack_scales(scales);
        let divisors = map(unpack_scales(&scales), |scale| d.get() * f32::from(scale));
        search.quotients(x, &divisors, 4, &mut levels);
        Self { hmask: pack_bit::<2>(&levels), qs: pack_two_bits(&levels), scales, d }
    }
}

impl Block for BlockQ3K {
    const TYPE: GgmlType = GgmlType::Q3_K;
    const LARGEST: f32 = F16_MAX * 32.0 * 4.0;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        if row.importance.is_none() {
            for (x, _, blocks) in row.batches::<MANY, 256, _>(blocks) {
                Self::quantize(search, x, blocks);
            }
            return;
        }
        for (x, importance, blocks) in row.batches::<BATCH, 256, _>(blocks) {
            if let Some(importance) = importance {
                Self::quantize_weighted(search, x, importance, blocks);
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        let scales = map(unpack_scales(&self.scales), |scale| d * f32::from(scale));
        let mut pairs = scales.as_chunks::<2>().0.iter();
        let mut third = self.hmask;
        for (half, qs) in out.chunks_exact_mut(128).zip(self.qs.as_chunks::<32>().0) {
            let mut qs = *qs;
            for (out, scales) in half.chunks_exact_mut(32).zip(&mut pairs) {
                let mut weights = [0.0; 32];
                for (i, y) in weights.iter_mut().enumerate() {
                    let level = qs[i] & 3 | (third[i] & 1) << 2;
                    *y = scales[i / 16] * f32::from(level as i8 - 4);
                }
                out.copy_from_slice(&weights);
                next_level::<2>(&mut qs);
                next_level::<1>(&mut third);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockQ3K {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 7, center: 4 };
    const SUB_SCALES: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let qs = set.load(&span[0].qs.as_chunks::<32>().0[group / 4]);
        let third = set.field(set.load(&span[0].hmask), group as u32, 1);
        set.or_above(set.field(qs, group as u32 % 4 * 2, 3), third, 2)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.splat_half(span[0].d.bits())
    }

    #[inline(always)]
    fn sub_scales(span: &[Self]) -> [i8; 16] {
        unpack_scales(&span[0].scales)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::dot;

    #[test]
    fn scales_survive_packing() {
        let scales: [u8; 16] = std::array::from_fn(|j| (j * 23 % 64) as u8);
        assert_eq!(unpack_scales(&pack_scales(&scales)), scales.map(|s| s as i8 - 32));
    }

    #[test]
    fn levels_survive_packing() {
        let levels: [u8; 256] = std::array::from_fn(|i| (i * 37 / 5 % 8) as u8);
        let (hmask, qs) = (pack_bit::<2>(&levels), pack_two_bits(&levels));
        let block = BlockQ3K { hmask, qs, ..BlockQ3K::zeroed() };
        assert_eq!(dot::levels_of(&[block]), levels);
    }
}
