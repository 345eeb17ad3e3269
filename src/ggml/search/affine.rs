//! Scales and minimums of unsigned levels.

use crate::ggml::measures::sum_of_squares;
use crate::simd::rounding::nearest_int;

/// How weights follow from levels: `scale * level - min`, `min` not negative.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ggml) struct Affine {
    pub scale: f32,
    pub min: f32,
    /// How much the sub-block's errors count together: the sum of their weights.
    pub weight: f32,
}

/// What is made of a difference before it is summed up.
#[derive(Clone, Copy, Debug)]
pub(in crate::ggml) enum Deviation {
    Squared,
    Absolute,
}

/// How much the error of each weight of a sub-block counts.
#[derive(Clone, Copy, Debug)]
pub(in crate::ggml) enum ErrorWeights<'a, const N: usize> {
    /// Its magnitude.
    Magnitude,
    /// Its magnitude and the sub-block's root mean square.
    Blurred,
    /// As given for each sub-block.
    Given(&'a [[f32; N]]),
}

impl<const N: usize> ErrorWeights<'_, N> {
    /// The weights of sub-block `j`, whose values are `x`.
    pub fn of(&self, j: usize, x: &[f32; N]) -> [f32; N] {
        match self {
            Self::Magnitude => x.map(f32::abs),
            Self::Blurred => {
                let average = (sum_of_squares(x) / N as f32).sqrt();
                x.map(|v| average + v.abs())
            }
            Self::Given(weights) => weights[j],
        }
    }
}

/// The scales to try: those that spread the values over `max + first + n * step` levels, for `n`
/// from 0 to `count`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ggml) struct Steps {
    pub first: f32,
    pub step: f32,
    pub count: i32,
}

/// A search of `x[i] ~ scale * levels[i] - min`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ggml) struct AffineSearch {
    /// Levels are from 0 to this.
    pub max: i32,
    pub steps: Steps,
    pub error: Deviation,
    /// Safe from a best minimum so close to the largest value that scales overflow: the
    /// reference's `make_qkx3_quants`, where this is false its `make_qkx2_quants`.
    pub guarded: bool,
}

impl AffineSearch {
    /// What every format searches where importance is known.
    pub const fn weighted(max: i32) -> Self {
        let steps = Steps { first: -0.9, step: 0.05, count: 36 };
        Self { max, steps, error: Deviation::Squared, guarded: true }
    }

    /// Fits a sub-block; errors are weighed by `weights`.
    pub fn fit<const N: usize>(
        self,
        x: &[f32; N],
        weights: &[f32; N],
        levels: &mut [u8; N],
    ) -> Affine {
        let Self { max, steps, error, .. } = self;
        if self.guarded {
            let level = |v: f32| if v > 0.0 { nearest_int(v.min(max as f32)) } else { 0 };
            search(x, max, weights, steps, error, level, levels)
        } else {
            search(x, max, weights, steps, error, |v| nearest_int(v).clamp(0, max), levels)
        }
    }
}

/// [`AffineSearch::fit`] of sub-blocks.
pub(in crate::ggml) struct AffineBatch<'a, const N: usize> {
    pub search: AffineSearch,
    pub x: &'a [[f32; N]],
    pub weights: ErrorWeights<'a, N>,
    pub levels: &'a mut [[u8; N]],
    pub fits: &'a mut [Affine],
}

/// The search itself; `level` rounds a candidate's quotient.
fn search<const N: usize>(
    x: &[f32; N],
    max: i32,
    weights: &[f32; N],
    steps: Steps,
    error: Deviation,
    level: impl Fn(f32) -> i32,
    levels: &mut [u8; N],
) -> Affine {
    let error = |difference: f32| match error {
        Deviation::Squared => difference * difference,
        Deviation::Absolute => difference.abs(),
    };
    let (mut min, mut top) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = sum_w * x[0];
    for i in 1..N {
        if x[i] < min {
            min = x[i];
        }
        if x[i] > top {
            top = x[i];
        }
        sum_w += weights[i];
        sum_x += weights[i] * x[i];
    }
    if min > 0.0 {
        min = 0.0;
    }
    if top <= min {
        *levels = [0; N];
        return Affine { scale: 0.0, min: -min, weight: sum_w };
    }
    let total_error = |levels: &[u8; N], scale: f32, min: f32| {
        let mut total = 0.0f32;
        for i in 0..N {
            total += weights[i] * error(scale * f32::from(levels[i]) + min - x[i]);
        }
        total
    };
    let inverse = max as f32 / (top - min);
    let mut scale = 1.0 / inverse;
    for i in 0..N {
        levels[i] = nearest_int(inverse * (x[i] - min)).clamp(0, max) as u8;
    }
    let mut best = total_error(levels, scale, min);
    for n in 0..=steps.count {
        // `min` is the best one so far, not the smallest value.
        let inverse = (steps.first + steps.step * n as f32 + max as f32) / (top - min);
        let mut candidate = [0u8; N];
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for i in 0..N {
            let l = level(inverse * (x[i] - min));
            candidate[i] = l as u8;
            let (w, l) = (weights[i], l as f32);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x[i];
        }
        // Least squares for the scale and the minimum, given the levels.
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant <= 0.0 || determinant.is_nan() {
            continue;
        }
        let mut this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut this_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        if this_min > 0.0 {
            this_min = 0.0;
            this_scale = sum_xl / sum_l2;
        }
        let this_error = total_error(&candidate, this_scale, this_min);
        if this_error < best {
            *levels = candidate;
            best = this_error;
            scale = this_scale;
            min = this_min;
        }
    }
    Affine { scale, min: -min, weight: sum_w }
}
