//! Scales of unsigned levels of values that are not negative: the scales and minimums of a
//! super-block.

use crate::ggml::measures::EPSILON;
use crate::simd::rounding::nearest_int;

/// [`fit`] of sub-blocks.
pub(in crate::ggml) struct PositiveBatch<'a, const N: usize> {
    pub x: &'a [[f32; N]],
    pub max: i32,
    pub weights: &'a [[f32; N]],
    pub levels: &'a mut [[u8; N]],
    pub scales: &'a mut [f32],
}

/// Fits `x[i] ~ scale * levels[i]` with levels from 0 to `max`, weighing the square of each error
/// by `weights`; gives the scale. The reference's `make_qp_quants`, also in what becomes of a
/// negative `x[i]`: a level that wraps around where the reference keeps it in a byte.
pub(super) fn fit<const N: usize>(
    x: &[f32; N],
    max: i32,
    weights: &[f32; N],
    levels: &mut [u8; N],
) -> f32 {
    let top = x.iter().fold(0.0f32, |m, &v| if m > v { m } else { v });
    if top < EPSILON {
        *levels = [0; N];
        return 0.0;
    }
    let mut inverse = max as f32 / top;
    let mut best = total_error(x, weights, inverse, |l| f32::from(l as u8));
    for step in (-4..=4).filter(|&s| s != 0) {
        let candidate = (0.1 * step as f32 + max as f32) / top;
        let this_error = total_error(x, weights, candidate, |l| l.min(max) as f32);
        if this_error < best {
            best = this_error;
            inverse = candidate;
        }
    }
    let (mut with_x, mut squares) = (0.0f32, 0.0f32);
    for i in 0..N {
        let l = nearest_int(inverse * x[i]).min(max);
        levels[i] = l as u8;
        with_x += weights[i] * x[i] * l as f32;
        squares += weights[i] * l as f32 * l as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for i in 0..N {
            let (w, l) = (weights[i], f32::from(levels[i]));
            let mut other_x = with_x - w * x[i] * l;
            let mut other_squares = squares - w * l * l;
            if !(other_x > 0.0 && other_squares > 0.0) {
                continue;
            }
            let new = nearest_int(x[i] * other_squares / other_x).min(max);
            if new == i32::from(levels[i]) {
                continue;
            }
            other_x += w * x[i] * new as f32;
            other_squares += w * new as f32 * new as f32;
            if other_x * other_x * squares > with_x * with_x * other_squares {
                levels[i] = new as u8;
                (with_x, squares) = (other_x, other_squares);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    if squares > 0.0 { with_x / squares } else { 0.0 }
}

fn total_error<const N: usize>(
    x: &[f32; N],
    weights: &[f32; N],
    inverse: f32,
    level: impl Fn(i32) -> f32,
) -> f32 {
    let scale = 1.0 / inverse;
    let mut total = 0.0f32;
    for i in 0..N {
        let difference = x[i] - scale * level(nearest_int(inverse * x[i]));
        total += weights[i] * difference * difference;
    }
    total
}
