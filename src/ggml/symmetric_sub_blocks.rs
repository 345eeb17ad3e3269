//! Super-blocks of sixteen sub-blocks with a signed scale each, itself a level of the super-block's
//! scale: what `q3_K` and `q6_K` share. Knows nothing of how they are packed.

use super::arrays::map;
use super::search::Search;

/// The sub-blocks of super-blocks.
pub(super) fn sub_blocks<T>(x: &[[T; 256]]) -> &[[T; 16]] {
    x.as_flattened().as_chunks().0
}

/// The sub-blocks of super-blocks, to write to.
pub(super) fn sub_blocks_mut<T>(x: &mut [[T; 256]]) -> &mut [[T; 16]] {
    x.as_flattened_mut().as_chunks_mut().0
}

/// Rounds the weights of a super-block once more, to `d` times the levels of scales as they are
/// stored. Levels are from 0 to `2 max - 1`; sub-blocks whose scale is zero keep theirs.
#[inline(always)]
pub(super) fn requantize<S: Search>(
    search: S,
    x: &[f32; 256],
    max: i8,
    d: f32,
    scales: [i8; 16],
    levels: &mut [u8; 256],
) {
    search.quotients(x, &map(scales, |scale| d * f32::from(scale)), max, levels);
}
