//! The ways to search.

use super::batch::Batch;
use super::nearest;
use crate::ggml::grid::{Grid, Near};
use crate::ggml::rules::Rules;
use crate::ggml::scalar::Scalar;
use crate::simd::{MAX_LANES, Simd};

/// The way to search: [`Scalar`] takes one sub-block after the other, a [`Simd`] as many at a time as it
/// has lanes.
pub(in crate::ggml) trait Search: Rules {
    /// Searches a batch.
    fn run<B: Batch>(self, batch: B);

    /// [`nearest::one_by_one`] for one cell.
    fn nearest<const N: usize>(
        self,
        grid: &Grid<N>,
        near: Near,
        x: &[f32; N],
        weights: &[f32; N],
        values: &[f32; 8],
    ) -> u16;
}

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
        nearest::one_by_one(grid, near.points, x, weights, values)
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
        nearest::in_lanes(self, near, x, weights, self.load(&lanes))
    }
}
