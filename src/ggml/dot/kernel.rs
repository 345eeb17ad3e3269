//! How rows of one type are multiplied, whatever the instructions.

use super::ActivationBlock;
use crate::simd::Aligned;

/// Rows of activations, by number.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// All rows.
    pub blocks: &'a [ActivationBlock],
    /// Blocks from the beginning of one row to that of the next.
    pub stride: usize,
    /// Which rows.
    pub numbers: &'a [u32],
}

/// Memory for what is between, kept from one product to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Unpacked rows.
    pub(super) tiles: Aligned,
    /// Activations, gathered.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) activations: Aligned,
    /// Sums that are still to be scaled.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) sums: Aligned,
}

/// How rows of one type are multiplied with [`ActivationBlock`]s, with the processor's best
/// instructions.
#[derive(Clone, Copy, Debug)]
pub struct RowKernel {
    pub(super) dot_rows: fn(&[u8], &[ActivationBlock], &mut [f32]),
    pub(super) multiply: fn(&[u8], usize, Inputs<'_>, &mut Scratch, &mut [f32]),
    pub(super) tile_rows: usize,
    pub(super) task_rows: usize,
}

/// Rows to multiply in one call, at most: as many as the second-level cache holds unpacked, where each
/// is multiplied with many tokens.
pub(super) const TASK_ROWS: usize = 64;

impl RowKernel {
    /// Writes the products of `out.len()` rows, one after the other in `rows`, with one row of
    /// activations.
    ///
    /// # Panics
    /// If `rows` does not divide into rows of whole blocks, or `activations` has fewer columns.
    pub fn dot_rows(&self, rows: &[u8], activations: &[ActivationBlock], out: &mut [f32]) {
        (self.dot_rows)(rows, activations, out);
    }

    /// Rows of a tile; [`multiply`](Self::multiply) takes a multiple of them at a time.
    pub fn tile_rows(&self) -> usize {
        self.tile_rows
    }

    /// Rows for one call of [`multiply`](Self::multiply), if there are that many: with fewer the
    /// activations are read more often, and more do not stay in the cache.
    pub fn task_rows(&self) -> usize {
        self.task_rows
    }

    /// Writes the products of `count` rows, one after the other in `rows`, with each of the
    /// inputs: `out[input * count + row]`.
    ///
    /// # Panics
    /// If `rows` does not divide into rows of whole blocks, if `count` is no multiple of
    /// [`tile_rows`](Self::tile_rows), if a row of activations has fewer columns, or if `out` has
    /// another length.
    pub fn multiply(
        &self,
        rows: &[u8],
        count: usize,
        inputs: Inputs<'_>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        (self.multiply)(rows, count, inputs, scratch, out);
    }
}
