//! Searches for the scale (and minimum) of a group of weights that make the smallest error.
//!
//! They decide the bytes of a file, so each follows its namesake in llama.cpp's
//! `ggml/src/ggml-quants.c` in the order and the precision of every operation. Each is there
//! twice: readable, for one group, and in `lanes/`, for as many groups as a vector has lanes.

mod affine;
pub(super) mod codebook;
mod lanes;
pub(super) mod lattice;
mod positive;
mod symmetric;
pub(super) mod ternary;

use super::grid::{Grid, Near};
use super::rules::Rules;
use super::simd::{MAX_LANES, Simd};
pub(super) use affine::{Affine, AffineSearch, Error, Steps, Weights};
use lattice::{Fit, Lattice, Start};
use ternary::Split;

/// The searches over any number of groups: `x`, `weights`, `levels` and what is returned by group
/// are as many.
///
/// [`Scalar`] does one group after the other, a [`Simd`] as many at a time as it has lanes; the
/// results are the same to the bit.
pub(super) trait Search: Rules {
    /// [`AffineSearch::fit`] for each group.
    fn affine<const N: usize>(
        self,
        search: AffineSearch,
        x: &[[f32; N]],
        weights: Weights<'_, N>,
        levels: &mut [[u8; N]],
        fits: &mut [Affine],
    );

    /// [`positive::fit`] for each group.
    fn positive<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        weights: &[[f32; N]],
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    );

    /// [`symmetric::fit`] for each group.
    fn symmetric<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        weights: Option<&[[f32; N]]>,
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    );

    /// [`symmetric::refine`] for each group.
    fn symmetric_refined<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    );

    /// [`codebook::fit`] for each group.
    fn codebook(self, x: &[[f32; 32]], weights: Option<&[[f32; 32]]>, scales: &mut [f32]);

    /// [`codebook::levels`] for each group.
    fn codebook_levels(self, x: &[[f32; 32]], inverses: &[f32], levels: &mut [[u8; 32]]);

    /// [`Lattice::fit`] for each group.
    fn lattice<const N: usize, const CELLS: usize>(
        self,
        search: Lattice,
        grid: &Grid<N>,
        x: &[[[f32; N]; CELLS]],
        weights: &[[[f32; N]; CELLS]],
        starts: &[Start],
        fits: &mut [Fit<CELLS>],
    );

    /// [`ternary::split`] for each group.
    fn split(
        self,
        x: &[[f32; 32]],
        weights: &[[f32; 32]],
        orders: &[[u8; 32]],
        splits: &mut [Option<Split<bool>>],
    );

    /// [`ternary::split_halves`] for each group.
    fn split_halves(
        self,
        x: &[[f32; 16]],
        weights: &[[f32; 16]],
        orders: &[[u8; 16]],
        splits: &mut [Option<Split<[bool; 2]>>],
    );

    /// [`lattice::best_of`] for one cell.
    fn nearest<const N: usize>(
        self,
        grid: &Grid<N>,
        near: Near,
        x: &[f32; N],
        weights: &[f32; N],
        values: &[f32; 8],
    ) -> u16;
}

/// One group after the other, without vector instructions.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

impl Search for Scalar {
    fn affine<const N: usize>(
        self,
        search: AffineSearch,
        x: &[[f32; N]],
        weights: Weights<'_, N>,
        levels: &mut [[u8; N]],
        fits: &mut [Affine],
    ) {
        for (j, ((x, levels), fit)) in x.iter().zip(levels).zip(fits).enumerate() {
            *fit = search.fit(x, &weights.of(j, x), levels);
        }
    }

    fn positive<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        weights: &[[f32; N]],
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    ) {
        for (((x, weights), levels), scale) in x.iter().zip(weights).zip(levels).zip(scales) {
            *scale = positive::fit(x, max, weights, levels);
        }
    }

    fn symmetric<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        weights: Option<&[[f32; N]]>,
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    ) {
        for (j, ((x, levels), scale)) in x.iter().zip(levels).zip(scales).enumerate() {
            *scale = symmetric::fit(x, max, weights.map(|all| &all[j]), levels);
        }
    }

    fn symmetric_refined<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    ) {
        for ((x, levels), scale) in x.iter().zip(levels).zip(scales) {
            *scale = symmetric::refine(x, max, levels);
        }
    }

    fn codebook(self, x: &[[f32; 32]], weights: Option<&[[f32; 32]]>, scales: &mut [f32]) {
        for (j, (x, scale)) in x.iter().zip(scales).enumerate() {
            *scale = codebook::fit(x, weights.map(|all| &all[j]));
        }
    }

    fn codebook_levels(self, x: &[[f32; 32]], inverses: &[f32], levels: &mut [[u8; 32]]) {
        for ((x, &inverse), levels) in x.iter().zip(inverses).zip(levels) {
            *levels = codebook::levels(x, inverse);
        }
    }

    fn lattice<const N: usize, const CELLS: usize>(
        self,
        search: Lattice,
        grid: &Grid<N>,
        x: &[[[f32; N]; CELLS]],
        weights: &[[[f32; N]; CELLS]],
        starts: &[Start],
        fits: &mut [Fit<CELLS>],
    ) {
        for (((x, weights), start), fit) in x.iter().zip(weights).zip(starts).zip(fits) {
            *fit = search.fit(grid, x, weights, *start);
        }
    }

    fn split(
        self,
        x: &[[f32; 32]],
        weights: &[[f32; 32]],
        orders: &[[u8; 32]],
        splits: &mut [Option<Split<bool>>],
    ) {
        for (((x, weights), order), split) in x.iter().zip(weights).zip(orders).zip(splits) {
            *split = ternary::split(x, weights, order);
        }
    }

    fn split_halves(
        self,
        x: &[[f32; 16]],
        weights: &[[f32; 16]],
        orders: &[[u8; 16]],
        splits: &mut [Option<Split<[bool; 2]>>],
    ) {
        for (((x, weights), order), split) in x.iter().zip(weights).zip(orders).zip(splits) {
            *split = ternary::split_halves(x, weights, order);
        }
    }

    fn nearest<const N: usize>(
        self,
        grid: &Grid<N>,
        near: Near,
        x: &[f32; N],
        weights: &[f32; N],
        values: &[f32; 8],
    ) -> u16 {
        lattice::best_of(grid, near.points, x, weights, values)
    }
}

impl<S: Simd> Search for S {
    #[inline(always)]
    fn affine<const N: usize>(
        self,
        search: AffineSearch,
        x: &[[f32; N]],
        weights: Weights<'_, N>,
        levels: &mut [[u8; N]],
        fits: &mut [Affine],
    ) {
        lanes::affine(self, search, x, weights, levels, fits);
    }

    #[inline(always)]
    fn positive<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        weights: &[[f32; N]],
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    ) {
        lanes::positive(self, x, max, weights, levels, scales);
    }

    #[inline(always)]
    fn symmetric<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        weights: Option<&[[f32; N]]>,
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    ) {
        lanes::symmetric(self, x, max, weights, levels, scales);
    }

    #[inline(always)]
    fn symmetric_refined<const N: usize>(
        self,
        x: &[[f32; N]],
        max: i32,
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    ) {
        lanes::symmetric_refined(self, x, max, levels, scales);
    }

    #[inline(always)]
    fn codebook(self, x: &[[f32; 32]], weights: Option<&[[f32; 32]]>, scales: &mut [f32]) {
        lanes::codebook::fit(self, x, weights, scales);
    }

    #[inline(always)]
    fn codebook_levels(self, x: &[[f32; 32]], inverses: &[f32], levels: &mut [[u8; 32]]) {
        lanes::codebook::levels(self, x, inverses, levels);
    }

    #[inline(always)]
    fn lattice<const N: usize, const CELLS: usize>(
        self,
        search: Lattice,
        grid: &Grid<N>,
        x: &[[[f32; N]; CELLS]],
        weights: &[[[f32; N]; CELLS]],
        starts: &[Start],
        fits: &mut [Fit<CELLS>],
    ) {
        lanes::lattice(self, search, grid, x, weights, starts, fits);
    }

    #[inline(always)]
    fn split(
        self,
        x: &[[f32; 32]],
        weights: &[[f32; 32]],
        orders: &[[u8; 32]],
        splits: &mut [Option<Split<bool>>],
    ) {
        lanes::split(self, x, weights, orders, splits);
    }

    #[inline(always)]
    fn split_halves(
        self,
        x: &[[f32; 16]],
        weights: &[[f32; 16]],
        orders: &[[u8; 16]],
        splits: &mut [Option<Split<[bool; 2]>>],
    ) {
        lanes::split_halves(self, x, weights, orders, splits);
    }

    #[inline(always)]
    fn nearest<const N: usize>(
        self,
        _: &Grid<N>,
        near: Near,
        x: &[f32; N],
        weights: &[f32; N],
        values: &[f32; 8],
    ) -> u16 {
        let mut lanes = [0.0; MAX_LANES];
        lanes[..8].copy_from_slice(values);
        lanes::nearest(self, near, x, weights, self.load(&lanes))
    }
}

/// Groups whose largest magnitude is below this are taken for zero.
pub(super) const EPSILON: f32 = 1e-15;

/// The value of the largest magnitude, the first of equals; zero where all are zero.
#[inline(always)]
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
#[inline(always)]
pub(super) fn sum_of_squares(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v * v)
}

/// Sum, in order.
#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |sum, v| sum + v)
}

/// How much each weight's error counts: its importance times its magnitude, the latter blurred by
/// the mean square `sigma2` of its surroundings.
#[inline(always)]
pub(super) fn weigh<const N: usize>(x: &[f32; N], importance: &[f32], sigma2: f32) -> [f32; N] {
    let mut weights = [0.0; N];
    for ((weight, x), importance) in weights.iter_mut().zip(x).zip(importance) {
        *weight = importance * (sigma2 + x * x).sqrt();
    }
    weights
}

/// [`weigh`] for blocks, each with `factor` times its own mean square.
///
/// The sums of squares of all are made side by side: one alone waits for each of its additions.
#[inline(always)]
pub(super) fn weigh_blocks<const N: usize>(
    x: &[[f32; N]],
    importance: &[[f32; N]],
    factor: f32,
    weights: &mut [[f32; N]],
) {
    const ABREAST: usize = 8;
    let batches = x.chunks(ABREAST).zip(importance.chunks(ABREAST));
    for ((x, importance), weights) in batches.zip(weights.chunks_mut(ABREAST)) {
        let mut squares = [0.0f32; ABREAST];
        for i in 0..N {
            for (sum, x) in squares.iter_mut().zip(x) {
                *sum += x[i] * x[i];
            }
        }
        for (((x, importance), weights), squares) in
            x.iter().zip(importance).zip(weights).zip(squares)
        {
            let sigma2 = factor * squares / N as f32;
            for i in 0..N {
                weights[i] = importance[i] * (sigma2 + x[i] * x[i]).sqrt();
            }
        }
    }
}
