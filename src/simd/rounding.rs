//! The conversions from float to integer and between float widths, for one number: what a lane does
//! by them. Each is named, since bytes of files depend on which one stands where.

/// Nearest integer, ties to even, for |x| up to 4194303; the reference's `nearest_int`.
///
/// Outside that range the result is meaningless and still the reference's: the mantissa bits of
/// `x + 1.5 * 2^23`.
#[inline(always)]
pub(crate) fn nearest_int(x: f32) -> i32 {
    let bits = (x + 12_582_912.0).to_bits() as i32;
    (bits & 0x007f_ffff) - 0x0040_0000
}

/// Nearest integer, ties away from zero, then [`truncate`]; C's `(int) roundf(x)`.
#[inline(always)]
pub(crate) fn round_away(x: f32) -> i32 {
    truncate(x.round())
}

/// C's `(int) x` as x86 does it: what no `i32` holds becomes `i32::MIN`, whose low byte is zero.
/// Rows of subnormals get there, through an infinite inverse scale.
#[inline(always)]
pub(crate) fn truncate(x: f32) -> i32 {
    if x.abs() < 2_147_483_648.0 { x as i32 } else { i32::MIN }
}

/// The half-precision float with these bits, widened.
///
/// Without branches or calls, so that loops over it vectorize.
#[inline(always)]
pub(crate) fn widen_f16(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let sign = u32::from(bits & 0x8000) << 16;
    // Exponents of f16 are biased by 15 and those of f32 by 127. A subnormal value becomes what is
    // above 2^-14, of which it is then taken. Tried a product with 2^112, exact for all values:
    // processors take long for subnormal floats, and the scales of most K-quants are that small.
    let normal = magnitude + (112 << 23);
    let smallest = f32::from_bits(113 << 23);
    let subnormal = (f32::from_bits(magnitude + (113 << 23)) - smallest).to_bits();
    let scaled = if magnitude < 1 << 23 { subnormal } else { normal };
    let special = if magnitude >= 0x7c00 << 13 { 0xff << 23 } else { 0 };
    f32::from_bits(sign | scaled | special)
}

/// The nearest half-precision float, ties to even, as bits.
#[inline(always)]
pub(crate) fn narrow_f16(x: f32) -> u16 {
    half::f16::from_f32(x).to_bits()
}

/// The nearest brain float, ties to even, as bits; of no NaN.
///
/// Without branches, so that loops over it vectorize.
#[inline(always)]
pub(crate) fn narrow_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_int_ties_to_even() {
        let cases = [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (3.49, 3), (-7.51, -8)];
        for (x, expected) in cases {
            assert_eq!(nearest_int(x), expected, "{x}");
        }
    }

    #[test]
    fn round_away_ties_away_from_zero() {
        for (x, expected) in [(0.5, 1), (1.5, 2), (2.5, 3), (-0.5, -1), (-2.5, -3), (2.4, 2)] {
            assert_eq!(round_away(x), expected, "{x}");
        }
    }

    #[test]
    fn truncate_is_x86s() {
        assert_eq!(truncate(8.99), 8);
        assert_eq!(truncate(-8.99), -8);
        for x in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 3e9] {
            assert_eq!(truncate(x), i32::MIN, "{x}");
        }
    }

    #[test]
    fn narrow_bf16_agrees_with_the_half_crate() {
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(u32::from(upper) << 16 | lower);
                if !x.is_nan() {
                    assert_eq!(narrow_bf16(x), half::bf16::from_f32(x).to_bits(), "{x}");
                }
            }
        }
    }

    #[test]
    fn widen_f16_agrees_with_the_half_crate_on_every_value() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (widen_f16(bits), half::f16::from_bits(bits).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
        }
    }
}
