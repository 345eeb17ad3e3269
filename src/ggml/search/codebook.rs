//! Scales of levels that are not evenly spaced.

use crate::ggml::arrays::map;
use crate::ggml::measures::{EPSILON, largest};

/// The values of `iq4_nl` and `iq4_xs`; llama.cpp's `kvalues_iq4nl`.
pub(in crate::ggml) const VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Writes 32 weights: `scale` times the values of the levels in `qs`.
#[inline(always)]
pub(in crate::ggml) fn dequantize(scale: f32, qs: &[u8; 16], out: &mut [f32]) {
    // The products first: there are fewer of them than of weights, and vectors make them.
    let products = map(VALUES, |value| scale * f32::from(value));
    let mut weights = [0.0; 32];
    for (i, q) in qs.iter().enumerate() {
        weights[i] = products[usize::from(q & 15)];
        weights[i + 16] = products[usize::from(q >> 4)];
    }
    out.copy_from_slice(&weights);
}

/// Index of the value nearest to `x`, the higher of two as near; the reference's
/// `best_index_int8`.
pub(in crate::ggml) fn nearest(x: f32) -> u8 {
    let value = |index: usize| f32::from(VALUES[index]);
    if x <= value(0) {
        return 0;
    }
    if x >= value(15) {
        return 15;
    }
    let (mut low, mut high) = (0, 15);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if x < value(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    (if x - value(low) < value(high) - x { low } else { high }) as u8
}

/// [`fit`] of sub-blocks.
pub(in crate::ggml) struct ScaleBatch<'a> {
    pub x: &'a [[f32; 32]],
    /// Without them, the square of each weight.
    pub weights: Option<&'a [[f32; 32]]>,
    pub scales: &'a mut [f32],
}

/// [`levels`] of sub-blocks.
pub(in crate::ggml) struct LevelBatch<'a> {
    pub x: &'a [[f32; 32]],
    pub inverses: &'a [f32],
    pub levels: &'a mut [[u8; 32]],
}

/// Fits `x[i] ~ scale * VALUES[level]` for 32 weights, weighing the square of each error by
/// `weights`, or by the weight's own square; gives the scale. The search of the reference's
/// `quantize_row_iq4_nl_impl`, with its `ntry` of 7.
pub(super) fn fit(x: &[f32; 32], weights: Option<&[f32; 32]>) -> f32 {
    let extreme = largest(x);
    if extreme.abs() < EPSILON {
        return 0.0;
    }
    let weights = weights.copied().unwrap_or_else(|| x.map(|v| v * v));
    let first = f32::from(VALUES[0]);
    let sums = |inverse: f32| {
        let (mut with_x, mut squares) = (0.0f32, 0.0f32);
        for (&v, &w) in x.iter().zip(&weights) {
            let q = f32::from(VALUES[usize::from(nearest(inverse * v))]);
            with_x += w * q * v;
            squares += w * q * q;
        }
        (with_x, squares)
    };
    let (with_x, squares) = sums(1.0 / (-extreme / first));
    let mut scale = if squares > 0.0 { with_x / squares } else { 0.0 };
    let mut best = scale * with_x;
    for step in -7..=7 {
        let (with_x, squares) = sums((step as f32 + first) / extreme);
        if squares > 0.0 && with_x * with_x > best * squares {
            scale = with_x / squares;
            best = scale * with_x;
        }
    }
    scale
}

/// The levels that an inverse scale gives.
pub(in crate::ggml) fn levels(x: &[f32; 32], inverse: f32) -> [u8; 32] {
    x.map(|v| nearest(inverse * v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_the_nearest_of_all_values() {
        for tenth in -1400..1400 {
            let x = tenth as f32 / 10.0;
            let distance = |index: usize| (f32::from(VALUES[index]) - x).abs();
            let found = distance(usize::from(nearest(x)));
            assert!((0..16).all(|index| distance(index) >= found), "{x}");
        }
    }
}
