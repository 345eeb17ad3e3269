//! Searches for the scale (and minimum) of a group of weights that make the smallest error.
//!
//! They decide the bytes of a file, so each follows its namesake in llama.cpp's
//! `ggml/src/ggml-quants.c` in the order and the precision of every operation. Each is there
//! twice: readable, for one group, and in `lanes/`, for as many groups as a vector has lanes.

mod affine;
pub(super) mod codebook;
mod lanes;
pub(super) mod lattice;
mod measures;
mod positive;
mod symmetric;
pub(super) mod ternary;
mod weigh;

use super::grid::{Grid, Near};
use super::rules::Rules;
use super::simd::{MAX_LANES, Simd};
pub(super) use affine::{Affine, AffineBatch, AffineSearch, Error, Steps, Weights};
pub(super) use measures::{EPSILON, largest, range, sum, sum_of_squares};
pub(super) use positive::PositiveBatch;
pub(super) use symmetric::{RefinedBatch, SymmetricBatch};
pub(super) use weigh::{weigh, weigh_blocks};

/// What is searched, and where what is found goes: any number of groups, of which all slices have
/// one entry each. Both ways find the same, to the bit.
pub(super) trait Batch {
    /// One group after the other, without vector instructions.
    fn one_by_one(self);

    /// As many groups at a time as there are lanes. Inlined always, so that it is compiled for the
    /// set's instructions.
    fn in_lanes<S: Simd>(self, s: S);
}

/// The way to search: [`Scalar`] takes one group after the other, a [`Simd`] as many at a time as it
/// has lanes.
pub(super) trait Search: Rules {
    /// Searches a batch.
    fn run<B: Batch>(self, batch: B);

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
    fn run<B: Batch>(self, batch: B) {
        batch.one_by_one();
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
    fn run<B: Batch>(self, batch: B) {
        batch.in_lanes(self);
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
