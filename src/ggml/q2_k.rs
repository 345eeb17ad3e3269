//! `q2_K`: super-blocks of 256 weights of 2 bits in sixteen groups with a scale and a minimum each.
//!
//! Follows `quantize_row_q2_K_ref`, `quantize_row_q2_K_impl`, `dequantize_row_q2_K` and
//! `ggml_vec_dot_q2_K_q8_K_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::le::F16Le;
use super::packing::{dot_i8, pack_two_bits, unpack_two_bits};
use super::q8_k::BlockQ8K;
use super::rounding::nearest_int;
use super::search::{self, Affine, Steps};

/// 256 weights: `d * scale * level - dmin * min`; byte `j` of `scales` holds the scale of group
/// `j` in its low nibble and the minimum in its high one.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ2K {
    scales: [u8; 16],
    qs: [u8; 64],
    d: F16Le,
    dmin: F16Le,
}
assert_layout!(BlockQ2K);

impl BlockQ2K {
    fn quantize(x: &[f32; 256]) -> Self {
        const STEPS: Steps = Steps { first: -0.5, step: 0.1, count: 15 };
        let mut levels = [0; 256];
        let mut fits = [Affine { scale: 0.0, min: 0.0 }; 16];
        for ((x, levels), fit) in groups(x, &mut levels).zip(&mut fits) {
            *fit = search::affine(x, 3, &x.map(f32::abs), STEPS, f32::abs, levels);
        }
        let top = |value: fn(&Affine) -> f32| {
            fits.iter().map(value).fold(0.0, |top: f32, v| if v > top { v } else { top })
        };
        let (max_scale, max_min) = (top(|f| f.scale), top(|f| f.min));
        let level =
            |top: f32, v: f32| if top > 0.0 { nearest_int(15.0 / top * v) as u8 } else { 0 };
        let scales = fits.map(|f| level(max_scale, f.scale) | level(max_min, f.min) << 4);
        Self::requantize(x, (max_scale / 15.0, max_min / 15.0), scales, levels)
    }

    fn quantize_weighted(x: &[f32; 256], importance: &[f32]) -> Self {
        let mut levels = [0; 256];
        let (mut scales, mut mins, mut sums) = ([0.0; 16], [0.0; 16], [0.0; 16]);
        let sigma2 = search::sum_of_squares(x) / 256.0;
        let importance = importance.chunks_exact(16);
        for (j, ((x, levels), importance)) in groups(x, &mut levels).zip(importance).enumerate() {
            let weights = search::weigh(x, importance, sigma2);
            sums[j] = search::sum(&weights);
            let fit = search::affine_guarded(x, 3, &weights, Steps::WEIGHTED, levels);
            (scales[j], mins[j]) = (fit.scale, fit.min);
        }
        let (mut scale_levels, mut min_levels) = ([0; 16], [0; 16]);
        let d = search::positive(&scales, 15, &sums, &mut scale_levels);
        let dmin = search::positive(&mins, 15, &sums, &mut min_levels);
        let scales = std::array::from_fn(|j| scale_levels[j] | min_levels[j] << 4);
        Self::requantize(x, (d, dmin), scales, levels)
    }

    /// Rounds the weights once more, to the scales as they are stored.
    fn requantize(
        x: &[f32; 256],
        (d, dmin): (f32, f32),
        scales: [u8; 16],
        mut levels: [u8; 256],
    ) -> Self {
        let (d, dmin) = (F16Le::new(d), F16Le::new(dmin));
        for ((x, levels), scale) in groups(x, &mut levels).zip(scales) {
            let min = dmin.get() * f32::from(scale >> 4);
            let scale = d.get() * f32::from(scale & 15);
            if scale == 0.0 {
                continue;
            }
            for (level, v) in levels.iter_mut().zip(x) {
                *level = nearest_int((v + min) / scale).clamp(0, 3) as u8;
            }
        }
        Self { scales, qs: pack_two_bits(&levels), d, dmin }
    }
}

/// Groups of 16 weights with their levels.
fn groups<'a>(
    x: &'a [f32; 256],
    levels: &'a mut [u8; 256],
) -> impl Iterator<Item = (&'a [f32; 16], &'a mut [u8; 16])> {
    x.as_chunks::<16>().0.iter().zip(levels.as_chunks_mut::<16>().0)
}

impl Block for BlockQ2K {
    const TYPE: GgmlType = GgmlType::Q2_K;
    const LARGEST: f32 = F16_MAX * 15.0 * 3.0;
    type Activation = BlockQ8K;

    fn quantize_row(row: &[f32], importance: Option<&[f32]>, blocks: &mut [Self]) {
        for (i, (x, block)) in row.as_chunks::<256>().0.iter().zip(blocks).enumerate() {
            *block = match importance {
                None => Self::quantize(x),
                Some(all) => Self::quantize_weighted(x, &all[256 * i..][..256]),
            };
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d.get(), self.dmin.get());
        let levels = unpack_two_bits(&self.qs);
        let groups = out.chunks_exact_mut(16).zip(levels.as_chunks::<16>().0);
        for ((out, levels), scale) in groups.zip(self.scales) {
            let (scale, min) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
            for (y, &level) in out.iter_mut().zip(levels) {
                *y = scale * f32::from(level) - min;
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.dmin.is_finite()
    }

    #[inline(always)]
    fn dot(row: &[Self], activations: &[BlockQ8K]) -> f32 {
        let mut sum = 0.0;
        for (w, a) in row.iter().zip(activations) {
            let levels = unpack_two_bits(&w.qs).map(|level| level as i8);
            let groups = levels.as_chunks::<16>().0.iter().zip(a.qs.as_chunks::<16>().0);
            let (mut products, mut offsets) = (0, 0);
            for (j, (levels, qs)) in groups.enumerate() {
                products += i32::from(w.scales[j] & 15) * dot_i8(levels, qs);
                offsets += i32::from(w.scales[j] >> 4) * a.sums[j].get();
            }
            let (d, dmin) = (a.d.get() * w.d.get(), a.d.get() * w.dmin.get());
            sum += d * products as f32 - dmin * offsets as f32;
        }
        sum
    }
}
