//! Between f32 and the forms that keys and values are kept in: half precision, and 8-bit integers
//! that share a scale.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Kernel, Simd};

/// Numbers that share a scale in 8 bits, as in ggml's `q8_0`.
pub const Q8_BLOCK: usize = 32;
/// Rows that are widened together.
const ROWS: usize = super::PANEL;

/// Half precision from f32, ties to even; `to` gets the bits.
pub fn narrow_f16(from: &[f32], to: &mut [u16]) {
    let to: &mut [f16] = to.reinterpret_cast_mut();
    to.convert_from_f32_slice(from);
}

/// f32 from the bits of half precision.
///
/// # Panics
/// If the slices are not equally long.
pub fn widen_f16(from: &[u16], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "as many halves as floats");
    #[cfg(target_arch = "x86_64")]
    if let Some(set) = Avx2::detect() {
        return set.run(Widen { from, to });
    }
    let from: &[f16] = from.reinterpret_cast();
    from.convert_to_f32_slice(to);
}

/// What [`widen_f16`] is given.
#[cfg(target_arch = "x86_64")]
struct Widen<'a> {
    from: &'a [u16],
    to: &'a mut [f32],
}

#[cfg(target_arch = "x86_64")]
impl Kernel<Avx2> for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, set: Avx2) {
        let (from, from_rest) = bytemuck::cast_slice(self.from).as_chunks::<8>();
        let (to, to_rest) = self.to.as_chunks_mut::<8>();
        for (from, to) in from.iter().zip(to) {
            set.store(set.load_f16(from), to);
        }
        for (from, to) in from_rest.iter().zip(to_rest) {
            *to = f16::from_le_bytes(*from).to_f32();
        }
    }
}

/// Quantizes as `quantize_row_q8_0_ref` does; gives the bits of the scale.
pub fn narrow_q8(from: &[f32; Q8_BLOCK], to: &mut [i8; Q8_BLOCK]) -> u16 {
    let largest = from.iter().fold(0f32, |m, x| m.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (q, x) in to.iter_mut().zip(from) {
        *q = (x * inverse).round() as i8;
    }
    f16::from_f32(scale).to_bits()
}

/// How the integers of [`ROWS`] rows stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Row after row.
    ByRow,
    /// First the first element of every row, then the second, and so on.
    ByColumn,
}

/// Widens [`ROWS`] rows of whole blocks, into the order they are in. `scales` has first the scales
/// of the first block of every row, then of the second, and so on.
pub fn widen_q8(quants: &[i8], scales: &[u16], order: Order, out: &mut [f32]) {
    let mut scale = [0.0; ROWS];
    let columns = quants.len() / ROWS;
    for (block, bits) in scales.as_chunks::<ROWS>().0.iter().enumerate() {
        widen_f16(bits, &mut scale);
        let at = block * Q8_BLOCK;
        match order {
            Order::ByRow => {
                let rows = quants.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
                for ((from, to), &scale) in rows.zip(&scale) {
                    multiply(&from[at..at + Q8_BLOCK], &[scale; ROWS], &mut to[at..at + Q8_BLOCK]);
                }
            }
            Order::ByColumn => {
                let range = at * ROWS..(at + Q8_BLOCK) * ROWS;
                multiply(&quants[range.clone()], &scale, &mut out[range]);
            }
        }
    }
}

/// `to[i] = from[i] * scales[i % ROWS]`.
fn multiply(from: &[i8], scales: &[f32; ROWS], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(set) = Avx2::detect() {
        // SAFETY: `set` proves that the processor has the features.
        return unsafe { multiply_avx2(set, from, scales, to) };
    }
    multiply_plain(from, scales, to);
}

/// A function of its own: as a kernel, whose arguments are fields, it would not say that they are
/// apart, and what the compiler does not know to be apart it does not vectorize.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn multiply_avx2(_: Avx2, from: &[i8], scales: &[f32; ROWS], to: &mut [f32]) {
    multiply_plain(from, scales, to);
}

#[inline(always)]
fn multiply_plain(from: &[i8], scales: &[f32; ROWS], to: &mut [f32]) {
    let (from, to) = (from.as_chunks::<ROWS>().0, to.as_chunks_mut::<ROWS>().0);
    for (from, to) in from.iter().zip(to) {
        for i in 0..ROWS {
            to[i] = f32::from(from[i]) * scales[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::{GgmlType, dequantize, quantize};

    #[test]
    fn every_half_is_widened_as_it_is() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        for len in [all.len(), 3] {
            let mut wide = vec![0.0; len];
            widen_f16(&all[..len], &mut wide);
            for (&bits, w) in all.iter().zip(&wide) {
                let expected = f16::from_bits(bits).to_f32();
                assert!(*w == expected || w.is_nan() && expected.is_nan(), "{bits}: {w}");
            }
            let finite: Vec<f32> = wide.into_iter().filter(|w| w.is_finite()).collect();
            let mut narrow = vec![0; finite.len()];
            narrow_f16(&finite, &mut narrow);
            for (bits, w) in narrow.iter().zip(&finite) {
                assert_eq!(f16::from_bits(*bits).to_f32().to_bits(), w.to_bits());
            }
        }
    }

    fn numbers() -> Vec<f32> {
        let number = |i: u32| (i + 1).wrapping_mul(2654435761) as f32 / 1e9 - 2.0;
        let mut numbers: Vec<f32> = (0..ROWS as u32 * 64).map(number).collect();
        numbers[64..96].fill(0.0);
        numbers
    }

    #[test]
    fn rows_and_columns_of_8_bit_integers_are_ggmls() {
        let rows = numbers();
        let mut expected = vec![0.0; rows.len()];
        let mut bytes = vec![0; rows.len() / 32 * 34];
        quantize(GgmlType::Q8_0, &rows, 64, None, &mut bytes).unwrap();
        dequantize(GgmlType::Q8_0, &bytes, &mut expected).unwrap();

        let (mut by_row, mut by_column) = (vec![0; rows.len()], vec![0; rows.len()]);
        let mut scales = vec![0; rows.len() / Q8_BLOCK];
        for (i, block) in rows.as_chunks::<Q8_BLOCK>().0.iter().enumerate() {
            let mut quants = [0; Q8_BLOCK];
            scales[i % 2 * ROWS + i / 2] = narrow_q8(block, &mut quants);
            by_row[i * Q8_BLOCK..][..Q8_BLOCK].copy_from_slice(&quants);
            for (j, q) in quants.into_iter().enumerate() {
                by_column[(i % 2 * Q8_BLOCK + j) * ROWS + i / 2] = q;
            }
        }
        let mut out = vec![0.0; rows.len()];
        widen_q8(&by_row, &scales, Order::ByRow, &mut out);
        assert_eq!(out, expected);
        widen_q8(&by_column, &scales, Order::ByColumn, &mut out);
        for (i, e) in expected.iter().enumerate() {
            assert_eq!(out[i % 64 * ROWS + i / 64], *e);
        }
    }
}
