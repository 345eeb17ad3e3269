//! A span of each of the rows that a vector has lanes for.

use std::ops::Range;

use super::levels::blocks_per_span;
use super::{Levels, Set};

/// One span of each row of a vector.
pub(super) struct Spans<'a, B> {
    blocks: &'a [B],
    /// Blocks in a row.
    columns: usize,
    /// Blocks of the span, which may end early.
    range: Range<usize>,
}

impl<'a, B: Levels> Spans<'a, B> {
    pub fn new(blocks: &'a [B], columns: usize, range: Range<usize>) -> Self {
        Self { blocks, columns, range }
    }

    /// The span of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [B] {
        &self.blocks[row * self.columns..][self.range.start..self.range.end]
    }

    /// How many groups there are.
    #[inline(always)]
    pub fn groups(&self) -> usize {
        8 * self.range.len() / blocks_per_span::<B>()
    }
}

/// Unpacks the levels of spans, eight rows at a time.
#[inline(always)]
pub(super) fn unpack_levels<S: Set, B: Levels>(
    set: S,
    spans: &Spans<'_, B>,
    shift: u8,
    to: &mut [u32],
) {
    for first in (0..S::ROWS).step_by(8) {
        for g in 0..spans.groups() {
            let mut levels = [set.spread(0, 0); 8];
            for (row, levels) in levels.iter_mut().enumerate() {
                *levels = B::levels(set, spans.row(first + row), g);
                if shift != 0 {
                    *levels = set.offset(*levels, shift);
                }
            }
            set.interleave(levels, &mut to[g * 8 * S::ROWS + first..]);
        }
    }
}
