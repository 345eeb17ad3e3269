//! What a set of instructions multiplies by itself, as the best way depends on both the set and the
//! type.

use super::spans::{Spans, unpack_levels};
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
