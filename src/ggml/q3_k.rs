//! `q3_K`: super-blocks of 256 weights of 3 bits in sixteen groups with a signed scale each.
//!
//! Follows `quantize_row_q3_K_ref`, `quantize_row_q3_K_impl`, `dequantize_row_q3_K` and
//! `ggml_vec_dot_q3_K_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::le::F16Le;
use super::packing::{dot_i8, pack_bit, pack_two_bits, unpack_bit, unpack_two_bits};
use super::q8_k::BlockQ8K;
use super::rounding::nearest_int;
use super::search::{self, Search};

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
    std::array::from_fn(|j| {
        let low = packed[j % 8] >> (j / 8 * 4) & 15;
        let high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    })
}

impl BlockQ3K {
    fn quantize(x: &[f32; 256]) -> Self {
        let mut levels = [0; 256];
        let mut scales = [0.0f32; 16];
        for ((x, levels), scale) in groups(x, &mut levels).zip(&mut scales) {
            *scale = search::symmetric_refined(x, 4, levels);
        }
        let extreme = search::largest(&scales);
        if extreme == 0.0 {
            return Self::requantize(x, 0.0, [0; 16], levels);
        }
        let inverse = -32.0 / extreme;
        let scales = scales.map(|s| (nearest_int(inverse * s).clamp(-32, 31) + 32) as u8);
        Self::requantize(x, 1.0 / inverse, scales, levels)
    }

    fn quantize_weighted(x: &[f32; 256], importance: &[f32]) -> Self {
        let mut levels = [0; 256];
        let (mut scales, mut sums) = ([0.0; 16], [0.0; 16]);
        let sigma2 = 2.0 * search::sum_of_squares(x) / 256.0;
        let importance = importance.chunks_exact(16);
        for (j, ((x, levels), importance)) in groups(x, &mut levels).zip(importance).enumerate() {
            let weights = search::weigh(x, importance, sigma2);
            sums[j] = search::sum(&weights);
            scales[j] = search::symmetric(x, 4, Some(&weights), levels);
        }
        let mut scale_levels = [0; 16];
        let d = search::symmetric(&scales, 32, Some(&sums), &mut scale_levels);
        Self::requantize(x, d, scale_levels.map(|s| s as u8), levels)
    }

    /// Rounds the weights once more, to the scales as they are stored.
    fn requantize(x: &[f32; 256], d: f32, scales: [u8; 16], mut levels: [i8; 256]) -> Self {
        let d = F16Le::new(d);
        let scales = pack_scales(&scales);
        for ((x, levels), scale) in groups(x, &mut levels).zip(unpack_scales(&scales)) {
            let scale = d.get() * f32::from(scale);
            if scale == 0.0 {
                continue;
            }
            for (level, v) in levels.iter_mut().zip(x) {
                *level = (nearest_int(v / scale).clamp(-4, 3) + 4) as i8;
            }
        }
        let levels = levels.map(|level| level as u8);
        Self { hmask: pack_bit::<2>(&levels), qs: pack_two_bits(&levels), scales, d }
    }

    #[inline(always)]
    fn levels(&self) -> [i8; 256] {
        let mut levels = unpack_two_bits(&self.qs);
        unpack_bit::<2>(&self.hmask, &mut levels);
        levels.map(|level| level as i8 - 4)
    }
}

/// Groups of 16 weights with their levels.
fn groups<'a>(
    x: &'a [f32; 256],
    levels: &'a mut [i8; 256],
) -> impl Iterator<Item = (&'a [f32; 16], &'a mut [i8; 16])> {
    x.as_chunks::<16>().0.iter().zip(levels.as_chunks_mut::<16>().0)
}

impl Block for BlockQ3K {
    const TYPE: GgmlType = GgmlType::Q3_K;
    const LARGEST: f32 = F16_MAX * 32.0 * 4.0;
    type Activation = BlockQ8K;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [Self]) {
        for (i, (x, block)) in row.as_chunks::<256>().0.iter().zip(blocks).enumerate() {
            *block = match importance {
                None => Self::quantize(x),
                Some(all) => Self::quantize_weighted(x, &all[256 * i..][..256]),
            };
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        let levels = self.levels();
        let groups = out.chunks_exact_mut(16).zip(levels.as_chunks::<16>().0);
        for ((out, levels), scale) in groups.zip(unpack_scales(&self.scales)) {
            let scale = d * f32::from(scale);
            for (y, &level) in out.iter_mut().zip(levels) {
                *y = scale * f32::from(level);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }

    #[inline(always)]
    fn dot(row: &[Self], activations: &[BlockQ8K]) -> f32 {
        let mut sum = 0.0;
        for (w, a) in row.iter().zip(activations) {
            let levels = w.levels();
            let groups = levels.as_chunks::<16>().0.iter().zip(a.qs.as_chunks::<16>().0);
            let mut products = 0;
            for ((levels, qs), scale) in groups.zip(unpack_scales(&w.scales)) {
                products += i32::from(scale) * dot_i8(levels, qs);
            }
            sum += w.d.get() * a.d.get() * products as f32;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_survive_packing() {
        let scales: [u8; 16] = std::array::from_fn(|j| (j * 23 % 64) as u8);
        assert_eq!(unpack_scales(&pack_scales(&scales)), scales.map(|s| s as i8 - 32));
    }
}
