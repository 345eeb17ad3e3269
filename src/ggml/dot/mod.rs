//! Products of quantized rows with quantized activations, one row at a time or tile by tile.
//!
//! Every type that is multiplied here says what its levels are in one form, [`Levels`]: 256
//! columns, a *run*, are eight groups of 32 levels with a float scale each, integer scales of 16
//! within them for some types, and minimums for some. The products of levels are summed as
//! integers, which no order can change; each group's sum is scaled and added to one of eight
//! floats, that of its place in the run, by a fused multiply-add; at the end the eight are added
//! as a tree. A row alone ([`row`]) has the eight floats in the lanes of a vector, a tile
//! ([`tile`]) has rows in the lanes: the bits are the same, on every instruction set.
//!
//! Knows nothing of threads or of matrices larger than a tile.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod levels;
mod portable;
mod row;
mod run;
mod set;
#[cfg(test)]
mod tests;
mod tile;
mod unpack;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(in crate::ggml) use levels::{Kind, Levels, Long};
pub use run::Run;
pub(in crate::ggml) use set::{LongBytes, Set};
pub use tile::{Inputs, Scratch};

use super::block::Block;
use super::{GgmlType, dispatch_levels};
use portable::Portable;
use unpack::rows_of_tile;

/// How rows of one type are multiplied with [`Run`]s, with the processor's best instructions.
#[derive(Clone, Copy, Debug)]
pub struct RowKernel {
    dot_rows: fn(&[u8], &[Run], &mut [f32]),
    multiply: fn(&[u8], usize, Inputs<'_>, &mut Scratch, &mut [f32]),
    tile_rows: usize,
    task_rows: usize,
}

/// Rows to multiply in one call, at most: as many as the second-level cache holds unpacked, where each
/// is multiplied with many tokens.
const TASK_ROWS: usize = 64;

impl RowKernel {
    /// The kernel of a type; floats have none.
    pub fn new(ty: GgmlType) -> Option<Self> {
        Some(dispatch_levels!(ty, B => Self::of::<B>(), else { return None }))
    }

    fn of<B: Levels>() -> Self {
        const { assert!(!(B::SUB_SCALES && matches!(B::KIND, Kind::Signed))) }
        const {
            assert!(B::LONG.is_none() || !B::SUB_SCALES && !matches!(B::KIND, Kind::Signed));
            assert!(B::LONG.is_none() || B::KIND.fits(8));
        }
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(kernel) = amx::kernel::<B>() {
            return kernel;
        }
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(kernel) = vnni::kernel::<B>() {
                return kernel;
            }
            if let Some(kernel) = avx2::kernel::<B>() {
                return kernel;
            }
        }
        Self::portable::<B>()
    }

    fn portable<B: Levels>() -> Self {
        Self {
            dot_rows: |rows, run, out| row::dot_rows::<_, B>(Portable, rows, run, out),
            multiply: |rows, count, inputs, scratch, out| {
                tile::multiply::<_, B>(Portable, rows, count, inputs, scratch, out);
            },
            tile_rows: rows_of_tile::<Portable>(),
            task_rows: TASK_ROWS,
        }
    }

    /// Writes the products of `out.len()` rows, one after the other in `rows`, with one row of
    /// activations.
    ///
    /// # Panics
    /// If `rows` does not divide into rows of whole blocks, or `activations` has fewer columns.
    pub fn dot_rows(&self, rows: &[u8], activations: &[Run], out: &mut [f32]) {
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

/// Blocks in a run.
const fn blocks_per_run<B: Block>() -> usize {
    run::COLUMNS / B::TYPE.block_size()
}

/// The levels of a run, as bytes.
#[cfg(test)]
pub(in crate::ggml) fn levels_of<B: Levels>(run: &[B]) -> [u8; run::COLUMNS] {
    let mut levels = [[0; 32]; 8];
    for (g, levels) in levels.iter_mut().enumerate() {
        *levels = B::levels(Portable, run, g);
    }
    bytemuck::cast(levels)
}
