//! `mxfp4`: 32 weights of 4 bits (e2m1 floats) with a shared power-of-two scale (e8m0), as in the
//! OCP Microscaling Formats specification.
//!
//! Follows `quantize_row_mxfp4_ref`, `dequantize_row_mxfp4` and `ggml_vec_dot_mxfp4_q8_0_generic`
//! of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Long, LongBytes, Set};
use super::e8m0::scale;
use super::packing::{pack_nibbles, unpack_nibbles};
use super::rules::BATCH;

/// 32 weights. Byte `j` of `qs` holds weight `j` in its low nibble and weight `j + 16` in its
/// high one; a nibble stands for `VALUES[nibble] * scale(e)`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockMxfp4 {
    pub(super) e: u8,
    pub(super) qs: [u8; 16],
}
assert_layout!(BlockMxfp4);

/// The values of e2m1, doubled, so that they are integers.
const VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// [`VALUES`] and 12, so that none is negative.
const SHIFTED: [i8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

/// [`VALUES`] of all levels, computed: unlike look-ups in a table, that vectorizes.
#[inline(always)]
fn values(levels: [u8; 32]) -> [i8; 32] {
    levels.map(|level| {
        let m = level & 7;
        let magnitude = (m + m.saturating_sub(4) + 2 * m.saturating_sub(6)) as i8;
        // All ones where the sign bit is set: the two's complement negates.
        let sign = -((level >> 3) as i8);
        (magnitude ^ sign) - sign
    })
}

/// The exponent for a block whose largest magnitude is `amax`: that magnitude becomes 4 to 8 times
/// the scale, of which at most 6 can be had.
fn exponent(amax: f32) -> u8 {
    if amax == 0.0 {
        return 0;
    }
    // The reference takes a single-precision logarithm, which rounds up to the integer for values
    // at most 88 steps below a power of two: elsewhere it is the exponent of the float.
    let bits = amax.to_bits();
    if bits & 0x007f_ffff < 0x007f_ff00 {
        return ((bits >> 23) as u8).saturating_sub(2);
    }
    // Narrowed from double precision it does not depend on the
    // platform's logf. Blocks of subnormals saturate at 0, where the reference is undefined.
    let log = f64::from(amax).log2() as f32;
    (log.floor() - 2.0 + 127.0) as u8
}

/// Where the nearest of the magnitudes changes, in units of four times the scale, whose inverse no
/// scale takes out of the normal floats. In the middle between two the smaller magnitude counts,
/// as it comes first in [`VALUES`].
const BOUNDS: [f32; 7] = [0.125, 0.375, 0.625, 0.875, 1.25, 1.75, 2.5];

/// The first of the nearest values to each weight, as indices into [`VALUES`].
#[inline(always)]
fn levels<S: Search>(search: S, x: &[f32; 32], e: u8) -> [u8; 32] {
    if e < 253 {
        // Differences of a weight and the values around it are exact, so the errors compare as the
        // weight does with the middle.
        return search.ranks(x, f32::from_bits((253 - u32::from(e)) << 23), &BOUNDS);
    }
    // The larger values are infinite.
    x.map(|v| nearest(v, scale(e)))
}

/// The first of the nearest values, as an index into [`VALUES`].
fn nearest(x: f32, scale: f32) -> u8 {
    let mut best = 0;
    let mut best_error = x.abs();
    for (index, &value) in (0u8..).zip(&VALUES).skip(1) {
        let error = (f32::from(value) * scale - x).abs();
        if error < best_error {
            best = index;
            best_error = error;
        }
    }
    best
}

impl Block for BlockMxfp4 {
    const TYPE: GgmlType = GgmlType::MXFP4;
    const LARGEST: f32 = f32::MAX;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        for (x, blocks) in row.x.as_chunks::<32>().0.chunks(BATCH).zip(blocks.chunks_mut(BATCH)) {
            let exponents = search.largest_magnitudes(x).map(exponent);
            for ((x, block), e) in x.iter().zip(blocks).zip(exponents) {
                *block = Self { e, qs: pack_nibbles(&levels(search, x, e)) };
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = scale(self.e);
        for (y, value) in out.iter_mut().zip(values(unpack_nibbles(&self.qs))) {
            *y = f32::from(value) * d;
        }
    }

    /// The exponent 255 stands for NaN; just below it the larger values exceed an `f32`.
    fn is_finite(&self) -> bool {
        self.e < 253
            || self.e < 255 && {
                let mut weights = [0.0; 32];
                self.dequantize(&mut weights);
                weights.iter().all(|w| w.is_finite())
            }
    }
}

impl Levels for BlockMxfp4 {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 24, center: 12 };
    const LONG: Option<Long> = Some(Long::Halves);

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        set.lookup(&SHIFTED, set.nibbles(&span[group].qs))
    }

    #[inline(always)]
    fn nibbles(span: &[Self], piece: usize) -> &[u8; 16] {
        &span[piece].qs
    }

    #[inline(always)]
    fn levels_of<S: LongBytes>(set: S, nibbles: S::Long) -> S::Long {
        set.long_lookup(&SHIFTED, nibbles)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        // Put together in a register: floats of a table, one by one, took a fifth of a row's time.
        let mut exponents = 0;
        for (j, block) in span.iter().enumerate() {
            exponents |= u64::from(block.e) << (8 * j);
        }
        set.half_powers(exponents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::rules::Scalar;
    use crate::ggml::{ActivationBlock, RowKernel};
    use crate::simd::Portable;

    #[test]
    fn the_exponent_is_that_of_a_single_precision_logarithm() {
        for power in 1..=254u32 {
            // The ends of a binade, where a logarithm may round up.
            for bits in (power << 23) - 600..(power << 23) + 64 {
                let x = f32::from_bits(bits);
                let expected = (x.log2().floor() - 2.0 + 127.0) as u8;
                assert_eq!(exponent(x), expected, "{x:e}");
            }
        }
    }

    #[test]
    fn levels_are_the_first_of_the_nearest_values() {
        let sets = |x: &[f32; 32], e| {
            [levels(Scalar, x, e), levels(Portable::<8>, x, e), levels(Portable::<16>, x, e)]
        };
        for e in 0..=253u8 {
            // What the middles and the values are, and the floats next to them.
            for at in
                BOUNDS.into_iter().chain(VALUES.map(|v| f32::from(v) / 4.0)).chain([0.06, 3.9])
            {
                let middle = (4.0 * at * scale(e)).min(f32::MAX).to_bits() as i32;
                let x = std::array::from_fn(|i| {
                    let step = i as i32 / 2 - 8;
                    let bits = (middle & i32::MAX).saturating_add(step).clamp(0, 0x7f7f_ffff);
                    f32::from_bits(bits as u32 | (i as u32 % 2) << 31)
                });
                let expected = x.map(|v| nearest(v, scale(e)));
                assert_eq!(sets(&x, e), [expected; 3], "{e}: {at}");
            }
        }
    }

    #[test]
    fn computed_values_are_those_of_the_table() {
        let levels = std::array::from_fn(|j| j as u8 % 16);
        assert_eq!(values(levels), levels.map(|level| VALUES[usize::from(level)]));
    }

    #[test]
    fn scales_are_powers_of_two() {
        for e in 0..=u8::MAX {
            assert_eq!(f64::from(scale(e)), 2f64.powi(i32::from(e) - 128), "{e}");
        }
    }

    #[test]
    fn every_exponent_is_the_same_number_in_weights_and_in_products() {
        // Column 0 of each block is a half of the scale, all others are zero.
        let qs = std::array::from_fn(|j| u8::from(j == 0));
        for e in 0..=u8::MAX {
            let block = BlockMxfp4 { e, qs };
            let mut weights = [0.0; 32];
            block.dequantize(&mut weights);
            assert_eq!(weights[0], scale(e), "{e}");
            // As a whole span and as the rest of one.
            for blocks in [8, 3] {
                let mut product = [0.0];
                let row = vec![block; blocks];
                let mut activations = [ActivationBlock::ZERO];
                // The largest activation has level 127: its scale is 2^-7 to the bit.
                let mut x = vec![0.0; 32 * blocks];
                x[0] = 127.0 / 128.0;
                ActivationBlock::quantize(&x, &mut activations);
                let kernel = RowKernel::new(GgmlType::MXFP4).unwrap();
                kernel.dot_rows(bytemuck::cast_slice(&row), &activations, &mut product);
                assert_eq!(product[0], weights[0] * (127.0 / 128.0), "{e}, {blocks} blocks");
            }
        }
    }
}
