//! The rules, weight after weight.

use super::{BATCH, Rules, Scalar};
use crate::ggml::le::F16Le;
use crate::ggml::measures;
use crate::ggml::packing::pack_fifth_bits;
use crate::simd::rounding::{nearest_int, round_away, truncate};

impl Rules for Scalar {
    fn largest<const N: usize>(self, blocks: &[[f32; N]]) -> [f32; BATCH] {
        each(blocks, |x| measures::largest(x))
    }

    fn largest_magnitudes(self, blocks: &[[f32; 32]]) -> [f32; BATCH] {
        each(blocks, |x| x.iter().fold(0.0, |m, v| m.max(v.abs())))
    }

    fn ranges(self, blocks: &[[f32; 32]]) -> ([f32; BATCH], [f32; BATCH]) {
        (each(blocks, |x| measures::range(x).0), each(blocks, |x| measures::range(x).1))
    }

    #[inline(always)]
    fn levels(self, x: &[f32; 32], min: f32, factor: f32, offset: f32, max: i8) -> [u8; 32] {
        x.map(|v| (truncate((v - min) * factor + offset) as i8).min(max) as u8)
    }

    #[inline(always)]
    fn rounded_away(self, x: &[f32; 32], factor: f32) -> [i8; 32] {
        x.map(|v| round_away(v * factor) as i8)
    }

    #[inline(always)]
    fn rounded_even(self, x: &[f32; 32], factor: f32) -> [i8; 32] {
        x.map(|v| nearest_int(factor * v).min(127) as i8)
    }

    #[inline(always)]
    fn quotients(self, x: &[f32; 256], divisors: &[f32; 16], max: i8, levels: &mut [u8; 256]) {
        // One loop over all, since compilers unroll one over a sub-block, and then do not vectorize
        // it.
        let mut each = [0.0; 256];
        for (each, divisor) in each.as_chunks_mut::<16>().0.iter_mut().zip(divisors) {
            *each = [*divisor; 16];
        }
        let max = i32::from(max);
        for ((level, v), divisor) in levels.iter_mut().zip(x).zip(each) {
            let rounded = (nearest_int(v / divisor).clamp(-max, max - 1) + max) as u8;
            *level = if divisor == 0.0 { *level } else { rounded };
        }
    }

    #[inline(always)]
    fn ranks(self, x: &[f32; 32], factor: f32, bounds: &[f32; 7]) -> [u8; 32] {
        x.map(|v| {
            let v = v * factor;
            let rank: u8 = bounds.iter().map(|&bound| u8::from(bound < v.abs())).sum();
            rank + 8 * u8::from(v < -bounds[0])
        })
    }

    #[inline(always)]
    fn fifth_bits(self, levels: &[u8; 32]) -> [u8; 4] {
        pack_fifth_bits(levels)
    }

    #[inline(always)]
    fn narrow_all(self, x: &[f32], out: &mut [F16Le]) {
        for (&x, out) in x.iter().zip(out) {
            *out = F16Le::new(x);
        }
    }
}

/// What `find` finds of each block.
fn each<const N: usize>(blocks: &[[f32; N]], find: impl Fn(&[f32; N]) -> f32) -> [f32; BATCH] {
    let mut found = [0.0; BATCH];
    for (x, found) in blocks.iter().zip(&mut found) {
        *found = find(x);
    }
    found
}
