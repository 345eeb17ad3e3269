//! What a set of instructions multiplies by itself, as the best way depends on both the set and the
//! type; and the spans of rows that it takes together.

use std::ops::Range;

use super::levels::blocks_per_span;
use super::{ActivationBlock, Levels, Set};

/// A set with the products of levels and activations.
pub(super) trait Products: Set {
    /// Sums of products of levels and activations of the first `groups` groups of a span of each of
    /// two rows, and zeros; with sub-scales, of the products of all three. The level that stands for
    /// zero is not subtracted.
    fn dot_two<B: Levels>(
        self,
        spans: [&[B]; 2],
        groups: usize,
        activations: &ActivationBlock,
    ) -> Self::PairI32;
    /// Writes the levels of the spans of [`ROWS`](Set::ROWS) rows, four of each row side by side, each
    /// with `shift` added to its byte: levels `4 q ..` of row `r` go to `to[q * ROWS + r]`.
    #[inline(always)]
    fn unpack_levels<B: Levels>(self, spans: &Spans<'_, B>, shift: u8, to: &mut [u32]) {
        unpack_levels(self, spans, shift, to);
    }
    /// Sums of products of a group's levels in two tiles of [`ROWS`](Set::ROWS) rows and the
    /// activations of `T` tokens. `levels` has, of each, eight wide vectors as
    /// [`interleave`](Set::interleave) left them; `sub_scales` two, with each row's sub-scale
    /// twice as 16 bits, if the type has any.
    fn multiply_group<B: Levels, const T: usize>(
        self,
        levels: [&[u32]; 2],
        sub_scales: [&[u32]; 2],
        activations: [&[i8; 32]; T],
    ) -> [[Self::WideI32; T]; 2];
}

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
