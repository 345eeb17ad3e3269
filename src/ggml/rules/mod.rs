//! What types without a search do with the weights of a block: find the largest or the range, and
//! turn each weight into a level by itself.
//!
//! Everything is there twice: readable in `scalar.rs`, and in `lanes.rs` with vectors. Minimums, maximums and whole numbers do
//! not depend on the order of the weights, so here the lanes of a vector hold the weights of one
//! block. Knows nothing of layouts.

mod lanes;
mod scalar;

use super::le::F16Le;
use crate::simd::MAX_LANES;

/// Blocks whose scales are found together. What is found of one block is waited for while that of
/// the others is: block after block, the processor waits half of the time.
pub(super) const BATCH: usize = MAX_LANES;

/// The rules. [`Scalar`] follows them weight after weight, a [`Simd`](crate::simd::Simd) with as many
/// weights at a time as it has lanes; the results are the same to the bit for finite weights.
///
/// What is found of a batch of up to [`BATCH`] blocks is followed by anything where the batch is
/// shorter.
pub(super) trait Rules: Copy {
    /// The value of the largest magnitude of each block, the first of equals; `0.0` where all are
    /// zero.
    fn largest<const N: usize>(self, blocks: &[[f32; N]]) -> [f32; BATCH];

    /// The largest magnitude of each block.
    fn largest_magnitudes(self, blocks: &[[f32; 32]]) -> [f32; BATCH];

    /// The smallest and the largest values of the blocks; of zeros with different signs the first.
    fn ranges(self, blocks: &[[f32; 32]]) -> ([f32; BATCH], [f32; BATCH]);

    /// `(x - min) * factor + offset` towards zero, at most `max`. Results above 127 do not occur
    /// but where `factor` is infinite: then they are 0.
    fn levels(self, x: &[f32; 32], min: f32, factor: f32, offset: f32, max: i8) -> [u8; 32];

    /// The low bytes of `x * factor` to the nearest integer, ties away from zero.
    fn rounded_away(self, x: &[f32; 32], factor: f32) -> [i8; 32];

    /// The low bytes of `x * factor` to the nearest integer, ties to even, at most 127.
    fn rounded_even(self, x: &[f32; 32], factor: f32) -> [i8; 32];

    /// `x / divisor` of each sub-block of sixteen to the nearest integer, ties to even, from `-max` to
    /// `max - 1`, and `max` more. Sub-blocks whose divisor is zero keep their levels.
    fn quotients(self, x: &[f32; 256], divisors: &[f32; 16], max: i8, levels: &mut [u8; 256]);

    /// How many of the bounds are below the magnitude of each `x * factor`, and 8 more for those
    /// below zero that are beyond the first bound. The bounds ascend.
    fn ranks(self, x: &[f32; 32], factor: f32, bounds: &[f32; 7]) -> [u8; 32];

    /// [`pack_fifth_bits`](super::packing::pack_fifth_bits).
    fn fifth_bits(self, levels: &[u8; 32]) -> [u8; 4];

    /// The nearest half-precision floats, ties to even, of as many.
    fn narrow_all(self, x: &[f32], out: &mut [F16Le]);

    /// [`narrow_all`](Self::narrow_all) for a batch.
    #[inline(always)]
    fn narrow(self, x: &[f32; BATCH]) -> [F16Le; BATCH] {
        let mut narrow = [F16Le::default(); BATCH];
        self.narrow_all(x, &mut narrow);
        narrow
    }
}

/// One weight or sub-block after the other, without vector instructions.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

/// The inverse of a scale; 0 for a block of zeros.
#[inline(always)]
pub(super) fn inverse(scale: f32) -> f32 {
    // Divided in any case: a loop over scales has no branches then.
    let inverse = 1.0 / scale;
    if scale == 0.0 { 0.0 } else { inverse }
}
