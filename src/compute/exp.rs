//! The exponential function, eight numbers at a time.

use super::lanes::Lanes;

/// Below it the result is zero: `exp` of it is just above the smallest normal number.
const LEAST: f32 = -87.0;
/// Adding it to a number of less than 22 bits rounds that to an integer, which then is in the
/// lowest bits of the sum.
const ROUNDING: f32 = 12_582_912.0;
/// `ln 2` in two parts, the first so short that its products with exponents are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Of `(exp(r) - 1 - r) / r²` for `|r| <= ln 2 / 2`, the highest power first. Source: Cephes,
/// `expf.c`.
const COEFFICIENTS: [f32; 6] =
    [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// `exp(x)` for `x` up to 88, off by less than 1.5e-7 of it; zero below -87, where the true value
/// is less than 1.7e-38.
#[inline(always)]
pub fn exp<V: Lanes>(x: V) -> V {
    let rounded = V::splat(ROUNDING).add_product(x, V::splat(std::f32::consts::LOG2_E));
    let n = rounded.add_product(V::splat(-1.0), V::splat(ROUNDING));
    let r = x.add_product(n, V::splat(-LN_2[0])).add_product(n, V::splat(-LN_2[1]));
    let mut p = V::splat(COEFFICIENTS[0]);
    for c in &COEFFICIENTS[1..] {
        p = V::splat(*c).add_product(p, r);
    }
    let one_and_r = V::splat(1.0).add(r);
    let result = one_and_r.add_product(p, r.scale(r)).times_power_of_two(rounded);
    result.zero_where_less(x, V::splat(LEAST))
}

#[cfg(test)]
mod tests {
    use super::super::lanes::{Portable, WIDTH};
    use super::*;

    fn check(exp_of: impl Fn(&[f32; WIDTH]) -> [f32; WIDTH]) {
        let mut worst = 0f64;
        for i in 0..2_000_000u32 {
            let x: [f32; WIDTH] =
                std::array::from_fn(|l| -87.0 + (i * 8 + l as u32) as f32 / 16e6 * 175.0);
            for (x, y) in x.iter().zip(exp_of(&x)) {
                let exact = f64::from(*x).exp();
                worst = worst.max((f64::from(y) / exact - 1.0).abs());
            }
        }
        println!("largest error of exp: {worst:e}");
        assert!(worst < 1.5e-7, "{worst:e}");
        let [one, zero, also, nan, infinite, small, ..] =
            exp_of(&[0.0, -87.01, f32::NEG_INFINITY, f32::NAN, -1e30, 1e-30, 0.0, 0.0]);
        assert_eq!((one, zero, also, infinite, small), (1.0, 0.0, 0.0, 0.0, 1.0));
        assert!(nan.is_nan());
    }

    #[inline(always)]
    fn exp_of<V: Lanes>(x: &[f32; WIDTH]) -> [f32; WIDTH] {
        let mut y = [0.0; WIDTH];
        exp(V::load(x)).store(&mut y);
        y
    }

    #[test]
    fn portable_exponentials_are_close() {
        check(exp_of::<Portable>);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn avx2_exponentials_are_close() {
        use super::super::lanes::{Avx2, has_avx2};
        #[target_feature(enable = "avx2,fma")]
        fn exp_avx2(x: &[f32; WIDTH]) -> [f32; WIDTH] {
            exp_of::<Avx2>(x)
        }
        if has_avx2() {
            println!("ran: avx2+fma");
            // SAFETY: the processor has the features.
            check(|x| unsafe { exp_avx2(x) });
        } else {
            println!("not run: this processor has no avx2+fma");
        }
    }
}
