//! Activations as 8-bit integers with a scale for every 32.

use crate::ggml::instruction_set::{InstructionSet, Work};
use crate::ggml::search::Search;

/// Columns of a span: as many as a super-block has.
pub(super) const COLUMNS: usize = 256;

/// 256 activations: `levels[g][i] * scales[g]`.
///
/// The scales stay in single precision. With those of half precision, as in ggml's `q8_0`, the nano's
/// mean divergence from exact products was 0.000586; with these it is 0.000579.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct ActivationBlock {
    pub(super) levels: [[i8; 32]; 8],
    pub(super) scales: [f32; 8],
    /// Sums of 16 levels each.
    pub(super) sums: [i16; 16],
}

impl ActivationBlock {
    /// All zero.
    pub const ZERO: Self = Self { levels: [[0; 32]; 8], scales: [0.0; 8], sums: [0; 16] };

    /// How many blocks a row of `columns` activations takes.
    pub const fn count(columns: usize) -> usize {
        columns.div_ceil(COLUMNS)
    }

    /// Quantizes one row of activations, a multiple of 32; columns beyond it become zero.
    ///
    /// Where a value is not finite, every product is NaN.
    ///
    /// # Panics
    /// If `row` is no multiple of 32, or `out` has not [`ActivationBlock::count`] blocks.
    pub fn quantize(row: &[f32], out: &mut [Self]) {
        Self::quantize_with(InstructionSet::best(), row, out);
    }

    /// [`quantize`](Self::quantize) with one set of instructions: the result is the same.
    pub(in crate::ggml) fn quantize_with(set: InstructionSet, row: &[f32], out: &mut [Self]) {
        assert!(row.len().is_multiple_of(32), "{} activations", row.len());
        assert_eq!(out.len(), Self::count(row.len()), "blocks of {} activations", row.len());
        set.run(Row { row, out });
    }
}

/// A row to quantize.
struct Row<'a> {
    row: &'a [f32],
    out: &'a mut [ActivationBlock],
}

impl Work for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Search>(self, search: S) {
        for (x, block) in self.row.as_chunks::<32>().0.chunks(8).zip(self.out) {
            if x.len() < 8 {
                *block = ActivationBlock::ZERO;
            }
            let largest = search.largest_magnitudes(x);
            for (g, x) in x.iter().enumerate() {
                let scale = largest[g] / 127.0;
                // So small a scale that its inverse is infinite: the levels would be, too.
                let inverse = if scale < f32::MIN_POSITIVE { 0.0 } else { 1.0 / scale };
                block.scales[g] = scale;
                block.levels[g] = search.rounded_even(x, inverse);
                // As integers, whose maximum is found with vectors.
                let mut magnitude = 0;
                for v in x {
                    magnitude = magnitude.max(v.to_bits() & 0x7fff_ffff);
                }
                if magnitude >= f32::INFINITY.to_bits() {
                    // It shows in every product.
                    block.scales[g] = f32::NAN;
                    block.levels[g] = [0; 32];
                }
            }
            for (sum, levels) in
                block.sums.iter_mut().zip(block.levels.as_flattened().as_chunks::<16>().0)
            {
                let mut total = 0;
                for &level in levels {
                    total += i16::from(level);
                }
                *sum = total;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_shows() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut row = [1.0; 288];
            row[270] = bad;
            for set in InstructionSet::available() {
                let mut blocks = [ActivationBlock::ZERO; 2];
                ActivationBlock::quantize_with(set, &row, &mut blocks);
                assert!(blocks[1].scales[0].is_nan(), "{set}");
                assert_eq!(blocks[0].scales, [1.0 / 127.0; 8]);
            }
        }
    }
}
