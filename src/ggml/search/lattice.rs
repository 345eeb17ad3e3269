//! Scales of magnitudes whose levels come from a codebook, a cell of neighbours at a time.

use super::nearest;
use crate::ggml::grid::{Grid, Place};
use crate::simd::rounding::nearest_int;

/// How magnitudes are searched.
#[derive(Clone, Copy, Debug)]
pub(in crate::ggml) struct Lattice {
    /// The scales to try are those at which the largest magnitude is `n * step` more than the
    /// value of the highest level, for `n` from `-tries` to `tries`.
    pub tries: i32,
    pub step: f32,
    pub refit: Refit,
}

/// Which cells are rounded once more, to the best scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ggml) enum Refit {
    /// Those whose levels were not in the codebook.
    Missed,
    /// All, if no try was best, or if the levels of any cell were not in the codebook.
    AllIfMissed,
    /// All.
    All,
}

/// Where a search starts.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ggml) struct Start {
    /// The scale, if no try is better.
    pub scale: f32,
    /// What the tries spread over the levels.
    pub top: f32,
}

/// Magnitudes `scale * (2 level + 1)`, the levels as points of a codebook.
#[derive(Clone, Copy, Debug)]
pub(in crate::ggml) struct Fit<const CELLS: usize> {
    /// May be negative if every magnitude that counts is.
    pub scale: f32,
    pub points: [u16; CELLS],
}

/// Level of a magnitude `v`, where levels stand for odd numbers.
#[inline(always)]
pub(in crate::ggml) fn odd_level(v: f32, max: i32) -> u8 {
    nearest_int(0.5 * (v - 1.0)).clamp(0, max) as u8
}

impl Lattice {
    /// Fits `x ~ scale * (2 level + 1)`, weighing the square of each error by `weights`. The
    /// search that the reference's `quantize_row_iq2_*_impl` and `quantize_row_iq3_*_impl` share.
    pub(super) fn fit<const N: usize, const CELLS: usize>(
        self,
        grid: &Grid<N>,
        x: &[[f32; N]; CELLS],
        weights: &[[f32; N]; CELLS],
        start: Start,
    ) -> Fit<CELLS> {
        let roots = weights.map(|cell| cell.map(f32::sqrt));
        let nearest = |cell: usize, scale: f32, inverse: f32| {
            let levels = x[cell].map(|v| odd_level(inverse * v, Grid::<N>::LEVELS as i32 - 1));
            match grid.place(Grid::code(&levels)) {
                Place::On(point) => (point, false),
                Place::Near(near) => {
                    let values: [f32; 8] = std::array::from_fn(|l| scale * (2 * l + 1) as f32);
                    (nearest::one_by_one(grid, near.points, &x[cell], &roots[cell], &values), true)
                }
            }
        };
        let sums = |points: &[u16; CELLS]| {
            let (mut with_x, mut squares) = (0.0f32, 0.0f32);
            for (cell, &point) in points.iter().enumerate() {
                let levels = grid.levels(point);
                for i in 0..N {
                    let (w, q) = (weights[cell][i], f32::from(2 * levels[i] + 1));
                    with_x += w * x[cell][i] * q;
                    squares += w * q * q;
                }
            }
            (with_x, squares)
        };
        // Point 0 of every codebook has level 0 throughout.
        let mut points = [0; CELLS];
        let mut missed = [self.refit != Refit::Missed; CELLS];
        let (mut scale, mut best) = (start.scale, 0.0f32);
        for n in -self.tries..=self.tries {
            let inverse = self.spread::<N>(n) / start.top;
            let found: [_; CELLS] =
                std::array::from_fn(|cell| nearest(cell, 1.0 / inverse, inverse));
            let candidate = found.map(|(point, _)| point);
            let (with_x, squares) = sums(&candidate);
            if squares > 0.0 && with_x * with_x > best * squares {
                scale = with_x / squares;
                best = scale * with_x;
                points = candidate;
                missed = found.map(|(_, missed)| missed);
            }
        }
        if scale > 0.0 && (missed.contains(&true) || self.refit == Refit::All) {
            let inverse = 1.0 / scale;
            for (cell, point) in points.iter_mut().enumerate() {
                if missed[cell] || self.refit != Refit::Missed {
                    *point = nearest(cell, scale, inverse).0;
                }
            }
            let (with_x, squares) = sums(&points);
            if squares > 0.0 {
                scale = with_x / squares;
            }
        }
        Fit { scale, points }
    }

    /// The value of the largest magnitude at try `n`.
    pub fn spread<const N: usize>(self, n: i32) -> f32 {
        (2 * Grid::<N>::LEVELS - 1) as f32 + n as f32 * self.step
    }
}

/// [`Lattice::fit`] of sub-blocks.
pub(in crate::ggml) struct LatticeBatch<'a, const N: usize, const CELLS: usize> {
    pub search: Lattice,
    pub grid: &'a Grid<N>,
    pub x: &'a [[[f32; N]; CELLS]],
    pub weights: &'a [[[f32; N]; CELLS]],
    pub starts: &'a [Start],
    pub fits: &'a mut [Fit<CELLS>],
}

/// Magnitudes, and the signs of every eight, that of weight `i` in bit `i`.
pub(in crate::ggml) fn split_signs<const N: usize, const BYTES: usize>(
    x: &[f32; N],
) -> ([f32; N], [u8; BYTES]) {
    let signs = std::array::from_fn(|byte| {
        (0..8).fold(0, |signs, i| signs | u8::from(x[8 * byte + i] < 0.0) << i)
    });
    (x.map(|v| if v < 0.0 { -v } else { v }), signs)
}

/// As [`split_signs`] with an even number of negative weights in every eight, so that seven bits
/// tell all eight signs: where there is one too many, the weight whose error counts least changes
/// its sign and has a negative magnitude.
pub(in crate::ggml) fn split_even_signs<const N: usize, const BYTES: usize>(
    x: &[f32; N],
    weights: &[f32; N],
) -> ([f32; N], [u8; BYTES]) {
    let (mut magnitudes, mut signs) = split_signs(x);
    for (byte, signs) in signs.iter_mut().enumerate() {
        if signs.count_ones() % 2 == 0 {
            continue;
        }
        let error = |i: usize| weights[8 * byte + i] * x[8 * byte + i] * x[8 * byte + i];
        let least = (1..8).fold(0, |least, i| if error(i) < error(least) { i } else { least });
        magnitudes[8 * byte + least] = -magnitudes[8 * byte + least];
        *signs ^= 1 << least;
    }
    (magnitudes, signs)
}

/// Seven of the eight signs that [`split_even_signs`] leaves.
pub(in crate::ggml) fn pack_even_signs(signs: &[u8]) -> u32 {
    signs.iter().rev().fold(0, |packed, signs| packed << 7 | u32::from(signs & 127))
}

/// The largest value that is positive, or zero; NaN if one is, so that a block with a scale that
/// overflowed does not pass for finite.
pub(in crate::ggml) fn top(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |top, &v| if v > top || v.is_nan() { v } else { top })
}

/// The scale `d` of a super-block and the levels of the scales of its sub-blocks, of which level
/// `max` is the highest: `scales[j] ~ d * (2 level + 1)`. `None` where all of them are zero.
pub(in crate::ggml) fn odd_scales<const SUB_BLOCKS: usize>(
    scales: &[f32; SUB_BLOCKS],
    max: u8,
) -> Option<(f32, [u8; SUB_BLOCKS])> {
    let top = top(scales);
    if top == 0.0 {
        return None;
    }
    let d = top / f32::from(2 * max + 1);
    let inverse = 1.0 / d;
    Some((d, scales.map(|scale| odd_level(inverse * scale, i32::from(max)))))
}
