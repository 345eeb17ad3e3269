//! The exponential function, as many numbers at a time as a vector has lanes.

use crate::simd::Fused;

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
pub fn exp<S: Fused>(s: S, x: S::F32) -> S::F32 {
    let rounded = s.fused(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUNDING));
    let n = s.fused(s.splat(-1.0), s.splat(ROUNDING), rounded);
    let r = s.fused(n, s.splat(-LN_2[0]), x);
    let r = s.fused(n, s.splat(-LN_2[1]), r);
    let mut p = s.splat(COEFFICIENTS[0]);
    for c in &COEFFICIENTS[1..] {
        p = s.fused(p, r, s.splat(*c));
    }
    let one_and_r = s.add(s.splat(1.0), r);
    let result = s.times_power_of_two(s.fused(p, s.mul(r, r), one_and_r), rounded);
    s.clear(s.lt(x, s.splat(LEAST)), result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Portable, Simd};

    fn check(exp_of: impl Fn(&[f32; 8]) -> [f32; 8]) {
        let mut worst = 0f64;
        for i in 0..2_000_000u32 {
            let x: [f32; 8] =
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

    struct Exp<'a>(&'a [f32; 8]);

    impl<S: Fused> Kernel<S> for Exp<'_> {
        type Output = [f32; 8];

        #[inline(always)]
        fn run(self, set: S) -> [f32; 8] {
            let mut y = [0.0; 8];
            let s = set.eight();
            s.store(exp(s, s.load(self.0)), &mut y);
            y
        }
    }

    #[test]
    fn portable_exponentials_are_close() {
        check(|x| Exp(x).run(Portable::<8>));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn avx2_exponentials_are_close() {
        match crate::simd::Avx2::detect() {
            Some(set) => {
                println!("ran: AVX2");
                check(|x| set.run(Exp(x)));
            }
            None => println!("not run: there is no AVX2"),
        }
    }
}
