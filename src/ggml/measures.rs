//! What is said of a sub-block of weights before it is searched.

/// Sub-blocks whose largest magnitude is below this are taken for zero.
pub(in crate::ggml) const EPSILON: f32 = 1e-15;

/// The value of the largest magnitude, the first of equals; zero where all are zero.
#[inline(always)]
pub(in crate::ggml) fn largest(x: &[f32]) -> f32 {
    let (mut amax, mut max) = (0.0f32, 0.0f32);
    for &v in x {
        if v.abs() > amax {
            (amax, max) = (v.abs(), v);
        }
    }
    max
}

/// Smallest and largest value.
pub(in crate::ggml) fn range(x: &[f32]) -> (f32, f32) {
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
#[inline(always)]
pub(in crate::ggml) fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v * v)
}

/// Sum, in order.
#[inline(always)]
pub(in crate::ggml) fn sum(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v)
}
