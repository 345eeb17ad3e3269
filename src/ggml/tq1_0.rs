//! `tq1_0`: blocks of 256 weights of -1, 0 or 1 times a scale, five to a byte.
//!
//! Follows `quantize_row_tq1_0_ref`, `dequantize_row_tq1_0` and
//! `ggml_vec_dot_tq1_0_q8_K_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::arrays::map;
use super::block::{Block, F16_MAX, assert_layout};
use super::dot::{Kind, Levels, Set};
use super::le::F16Le;
use super::quantize::largest_magnitude;
use super::search::Search;

/// 256 weights: `d * (level - 1)`. A byte holds five levels as a fraction of 256 in base three,
/// rounded up, the first of them the first digit. `long` has levels 0 to 159, those of byte `j` 32
/// apart, `short` the next 80, 16 apart, and `rest` the last 16, four to a byte and four apart.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockTq1_0 {
    long: [u8; 32],
    short: [u8; 16],
    rest: [u8; 4],
    d: F16Le,
}
assert_layout!(BlockTq1_0);

/// The scale of 256 weights, which is their largest magnitude, and their levels.
#[inline(always)]
pub(super) fn ternary(x: &[f32; 256]) -> (F16Le, [u8; 256]) {
    let d = largest_magnitude(x);
    // Where the inverse overflows, C's `lroundf` of it has a zero for its low 32 bits.
    let inverse = 1.0 / d;
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    // Rounds half away from zero: comparisons vectorize, `f32::round` does not.
    let level = |v: f32| u8::from(inverse * v > -0.5) + u8::from(inverse * v >= 0.5);
    (F16Le::new(d), map(*x, level))
}

/// Levels of bytes that are as many levels apart as there are bytes.
#[inline(always)]
fn pack<const BYTES: usize>(levels: &[u8]) -> [u8; BYTES] {
    let mut digits = [0u16; BYTES];
    for levels in levels.chunks_exact(BYTES) {
        for (digits, &level) in digits.iter_mut().zip(levels) {
            *digits = *digits * 3 + u16::from(level);
        }
    }
    // The digits of levels that are not there.
    let shift = 3u16.pow(5 - (levels.len() / BYTES) as u32);
    map(digits, |digits| (digits * shift * 256).div_ceil(243) as u8)
}

/// Inverse of [`pack`], less one.
#[inline(always)]
fn unpack<const BYTES: usize>(bytes: &[u8; BYTES], values: &mut [i8]) {
    let mut rest = *bytes;
    for values in values.chunks_exact_mut(BYTES) {
        for (value, rest) in values.iter_mut().zip(&mut rest) {
            let tripled = u16::from(*rest) * 3;
            *value = (tripled >> 8) as i8 - 1;
            *rest = tripled as u8;
        }
    }
}

/// Digit `n` of every byte, from the highest.
#[inline(always)]
fn digit(bytes: &[u8], n: usize, levels: &mut [u8]) {
    let factor = [1, 3, 9, 27, 81][n];
    for (level, byte) in levels.iter_mut().zip(bytes) {
        *level = ((u16::from(byte.wrapping_mul(factor)) * 3) >> 8) as u8;
    }
}

impl BlockTq1_0 {
    #[inline(always)]
    fn values(&self) -> [i8; 256] {
        let mut values = [0; 256];
        let (long, others) = values.split_at_mut(160);
        let (short, rest) = others.split_at_mut(80);
        unpack(&self.long, long);
        unpack(&self.short, short);
        unpack(&self.rest, rest);
        values
    }
}

impl Block for BlockTq1_0 {
    const TYPE: GgmlType = GgmlType::TQ1_0;
    const LARGEST: f32 = F16_MAX;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(
        _: S,
        row: &[f32],
        _importance: Option<&[f32]>,
        blocks: &mut [Self],
    ) {
        for (x, block) in row.as_chunks::<256>().0.iter().zip(blocks) {
            let (d, levels) = ternary(x);
            let (long, others) = levels.split_at(160);
            let (short, rest) = others.split_at(80);
            *block = Self { long: pack(long), short: pack(short), rest: pack(rest), d };
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (y, value) in out.iter_mut().zip(self.values()) {
            *y = f32::from(value) * d;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockTq1_0 {
    const KIND: Kind = Kind::Unsigned { max: 2, center: 1 };

    #[inline(always)]
    fn levels<S: Set>(set: S, run: &[Self], group: usize) -> S::Bytes {
        let mut levels = [0; 32];
        let (first, second) = levels.split_at_mut(16);
        match group {
            0..5 => digit(&run[0].long, group, &mut levels),
            5 | 6 => {
                digit(&run[0].short, 2 * group - 10, first);
                digit(&run[0].short, 2 * group - 9, second);
            }
            _ => {
                digit(&run[0].short, 4, first);
                for (n, levels) in second.chunks_exact_mut(4).enumerate() {
                    digit(&run[0].rest, n, levels);
                }
            }
        }
        set.load(&levels)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, run: &[Self]) -> S::F32 {
        set.splat_half(run[0].d.bits())
    }
}
