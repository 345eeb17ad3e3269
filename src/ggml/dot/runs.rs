//! A run of each of the rows that a vector has lanes for.

use std::ops::Range;

use super::levels::blocks_per_run;
use super::{Levels, Set};

/// One run of each row of a vector.
pub(super) struct Runs<'a, B> {
    blocks: &'a [B],
    /// Blocks in a row.
    columns: usize,
    /// Blocks of the run, which may end early.
    range: Range<usize>,
}

impl<'a, B: Levels> Runs<'a, B> {
    pub fn new(blocks: &'a [B], columns: usize, range: Range<usize>) -> Self {
        Self { blocks, columns, range }
    }

    /// The run of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [B] {
        &self.blocks[row * self.columns..][self.range.start..self.range.end]
    }

    /// How many groups there are.
    #[inline(always)]
    pub fn groups(&self) -> usize {
        8 * self.range.len() / blocks_per_run::<B>()
    }
}

/// Unpacks the levels of runs, eight rows at a time.
#[inline(always)]
pub(super) fn unpack_levels<S: Set, B: Levels>(
    set: S,
    runs: &Runs<'_, B>,
    shift: u8,
    to: &mut [u32],
) {
    for first in (0..S::ROWS).step_by(8) {
        for g in 0..runs.groups() {
            let mut levels = [set.spread(0, 0); 8];
            for (row, levels) in levels.iter_mut().enumerate() {
                *levels = B::levels(set, runs.row(first + row), g);
                if shift != 0 {
                    *levels = set.offset(*levels, shift);
                }
            }
            set.interleave(levels, &mut to[g * 8 * S::ROWS + first..]);
        }
    }
}
