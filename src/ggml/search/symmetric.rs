//! Scales of signed levels around zero.

use crate::ggml::measures::{EPSILON, largest};
use crate::simd::rounding::nearest_int;

/// [`fit`] of sub-blocks.
pub(in crate::ggml) struct SymmetricBatch<'a, const N: usize> {
    pub x: &'a [[f32; N]],
    pub max: i32,
    /// Without them, the square of each weight.
    pub weights: Option<&'a [[f32; N]]>,
    pub levels: &'a mut [[u8; N]],
    pub scales: &'a mut [f32],
}

/// [`refine`] of sub-blocks.
pub(in crate::ggml) struct RefinedBatch<'a, const N: usize> {
    pub x: &'a [[f32; N]],
    pub max: i32,
    pub levels: &'a mut [[u8; N]],
    pub scales: &'a mut [f32],
}

/// Fits `x[i] ~ scale * (levels[i] - max)` with levels from 0 to `2 max - 1`, weighing the square
/// of each error by `weights`, or by the weight's own square; gives the scale. The reference's
/// `make_qx_quants` with `rmse_type` 1.
pub(super) fn fit<const N: usize>(
    x: &[f32; N],
    max: i32,
    weights: Option<&[f32; N]>,
    levels: &mut [u8; N],
) -> f32 {
    let extreme = largest(x);
    if extreme.abs() < EPSILON {
        *levels = [0; N];
        return 0.0;
    }
    let weight = |i: usize| weights.map_or(x[i] * x[i], |w| w[i]);
    let level = |inverse: f32, i: usize| nearest_int(inverse * x[i]).clamp(-max, max - 1);
    let sums = |inverse: f32| {
        let (mut with_x, mut squares) = (0.0f32, 0.0f32);
        for (i, &v) in x.iter().enumerate() {
            let (w, l) = (weight(i), level(inverse, i) as f32);
            with_x += w * v * l;
            squares += w * l * l;
        }
        (with_x, squares)
    };
    let mut inverse = -max as f32 / extreme;
    let (with_x, squares) = sums(inverse);
    let mut scale = if squares != 0.0 { with_x / squares } else { 0.0 };
    let mut best = scale * with_x;
    for step in (-9..=9).filter(|&s| s != 0) {
        let candidate = -(max as f32 + 0.1 * step as f32) / extreme;
        let (with_x, squares) = sums(candidate);
        if squares > 0.0 && with_x * with_x > best * squares {
            inverse = candidate;
            scale = with_x / squares;
            best = scale * with_x;
        }
    }
    self::levels(x, inverse, max, levels);
    scale
}

/// The levels that an inverse scale gives.
#[inline(always)]
pub(in crate::ggml) fn levels<const N: usize>(
    x: &[f32; N],
    inverse: f32,
    max: i32,
    levels: &mut [u8; N],
) {
    for (level, v) in levels.iter_mut().zip(x) {
        *level = (max + nearest_int(inverse * v).clamp(-max, max - 1)) as u8;
    }
}

/// As [`fit`], for few levels: starts from the largest value and moves one level at a time while
/// that lessens the error, each weighed by the square of its weight. The reference's
/// `make_q3_quants`.
pub(super) fn refine<const N: usize>(x: &[f32; N], max: i32, levels: &mut [u8; N]) -> f32 {
    let extreme = largest(x);
    if extreme.abs() < EPSILON {
        *levels = [0; N];
        return 0.0;
    }
    let inverse = -max as f32 / extreme;
    let (mut with_x, mut squares) = (0.0f32, 0.0f32);
    let mut signed = [0i32; N];
    for i in 0..N {
        let l = nearest_int(inverse * x[i]).clamp(-max, max - 1);
        signed[i] = l;
        let w = x[i] * x[i];
        with_x += w * x[i] * l as f32;
        squares += w * l as f32 * l as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for i in 0..N {
            let (w, l) = (x[i] * x[i], signed[i] as f32);
            let mut other_x = with_x - w * x[i] * l;
            if other_x <= 0.0 || other_x.is_nan() {
                continue;
            }
            let mut other_squares = squares - w * l * l;
            let new = nearest_int(x[i] * other_squares / other_x).clamp(-max, max - 1);
            if new == signed[i] {
                continue;
            }
            other_x += w * x[i] * new as f32;
            other_squares += w * new as f32 * new as f32;
            let lessens = other_x * other_x * squares > with_x * with_x * other_squares;
            if other_squares > 0.0 && lessens {
                signed[i] = new;
                (with_x, squares) = (other_x, other_squares);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    *levels = signed.map(|l| (l + max) as u8);
    if squares > 0.0 { with_x / squares } else { 0.0 }
}
