//! `tq1_0`: blocks of 256 weights of -1, 0 or 1 times a scale, five to a byte.
//!
//! Follows `quantize_row_tq1_0_ref`, `dequantize_row_tq1_0` and
//! `ggml_vec_dot_tq1_0_q8_K_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::arrays::map;
use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::quantize::largest_magnitude;

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

/// The bytes of which digit `n` is the first.
#[inline(always)]
fn from_digit<S: Set>(set: S, n: usize, mut bytes: S::Bytes) -> S::Bytes {
    for _ in 0..n {
        bytes = set.triple(bytes);
    }
    bytes
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
    fn quantize_row<S: Search>(_: S, row: Row<'_>, blocks: &mut [Self]) {
        for (x, block) in row.x.as_chunks::<256>().0.iter().zip(blocks) {
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
    const RANGE: LevelRange = LevelRange::Unsigned { max: 2, center: 1 };

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let Self { long, short, rest, .. } = &span[0];
        let digits = match group {
            0..5 => from_digit(set, group, set.load(long)),
            5 | 6 => {
                let low =
                    from_digit(set, 2 * group - 10, set.load(bytemuck::cast_ref(&[*short; 2])));
                set.halves(low, set.triple(low))
            }
            _ => {
                let low = from_digit(set, 4, set.load(bytemuck::cast_ref(&[*short; 2])));
                let mut high = [[0; 4]; 8];
                for (n, &factor) in [1u8, 3, 9, 27].iter().enumerate() {
                    for (high, byte) in high[4 + n].iter_mut().zip(rest) {
                        *high = byte.wrapping_mul(factor);
                    }
                }
                set.halves(low, set.load(bytemuck::cast_ref(&high)))
            }
        };
        set.thirds(digits)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.splat_half(span[0].d.bits())
    }
}
