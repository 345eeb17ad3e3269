//! What is searched in batches of sub-blocks, and the ways to do it.

use super::nearest;
use crate::ggml::grid::{Grid, Near};
use crate::ggml::rules::{Rules, Scalar};
use crate::simd::{MAX_LANES, Simd};

/// What is searched, and where what is found goes: any number of sub-blocks, of which all slices have
/// one entry each. Both ways find the same, to the bit.
pub(in crate::ggml) trait Batch {
    /// One sub-block after the other, without vector instructions.
    fn one_by_one(self);

    /// As many sub-blocks at a time as there are lanes. Inlined always, so that it is compiled for the
    /// set's instructions.
    fn in_lanes<S: Simd>(self, s: S);
}

/// The way to search: [`Scalar`] takes one sub-block after the other, a [`Simd`] as many at a time as
/// it has lanes.
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
