//! Searches for the scale (and minimum) of a group of weights that make the smallest error.
//!
//! They decide the bytes of a file, so each follows its namesake in llama.cpp's
//! `ggml/src/ggml-quants.c` in the order and the precision of every operation.

mod affine;
pub(super) mod codebook;
mod positive;
mod symmetric;

pub(super) use affine::{Affine, Steps, fit as affine, fit_guarded as affine_guarded};
pub(super) use positive::fit as positive;
pub(super) use symmetric::{fit as symmetric, refine as symmetric_refined};

/// Groups whose largest magnitude is below this are taken for zero.
pub(super) const EPSILON: f32 = 1e-15;

/// The value of the largest magnitude, the first of equals; zero where all are zero.
pub(super) fn largest(x: &[f32]) -> f32 {
    let (mut amax, mut max) = (0.0f32, 0.0f32);
    for &v in x {
        if v.abs() > amax {
            (amax, max) = (v.abs(), v);
        }
    }
    max
}

/// Smallest and largest value.
pub(super) fn range(x: &[f32]) -> (f32, f32) {
    let (mut min, mut max) = (f32::MAX, -f32::MAX);
    for &v in x {
        if v < min {
            min = v;
        }
        if v > max {
            max = v;
        }
    }
    (min, max)
}

/// Sum of squares, in order.
pub(super) fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v * v)
}

/// Sum, in order.
pub(super) fn sum(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v)
}

/// How much each weight's error counts: its importance times its magnitude, the latter blurred by
/// the mean square `sigma2` of its surroundings.
pub(super) fn weigh<const N: usize>(x: &[f32; N], importance: &[f32], sigma2: f32) -> [f32; N] {
    std::array::from_fn(|i| importance[i] * (sigma2 + x[i] * x[i]).sqrt())
}
