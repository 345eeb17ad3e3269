//! Super-blocks of sixteen groups with a signed scale each, itself a level of the super-block's
//! scale: what `q3_K` and `q6_K` share. Knows nothing of how they are packed.

use super::rounding::nearest_int;

/// The groups of super-blocks.
pub(super) fn groups<T>(x: &[[T; 256]]) -> &[[T; 16]] {
    x.as_flattened().as_chunks().0
}

/// The groups of super-blocks, to write to.
pub(super) fn groups_mut<T>(x: &mut [[T; 256]]) -> &mut [[T; 16]] {
    x.as_flattened_mut().as_chunks_mut().0
}

/// Rounds the weights of a super-block once more, to `d` times the levels of scales as they are
/// stored. Levels are from 0 to `2 max - 1`; groups whose scale is zero keep theirs.
#[inline(always)]
pub(super) fn requantize(
    x: &[f32; 256],
    max: i32,
    d: f32,
    scales: [i8; 16],
    levels: &mut [u8; 256],
) {
    // One loop over all, since compilers unroll one over a group, and then do not vectorize it.
    let mut divisors = [0.0; 256];
    for (divisors, scale) in divisors.as_chunks_mut::<16>().0.iter_mut().zip(scales) {
        *divisors = [d * f32::from(scale); 16];
    }
    for ((level, v), divisor) in levels.iter_mut().zip(x).zip(divisors) {
        let rounded = (nearest_int(v / divisor).clamp(-max, max - 1) + max) as u8;
        *level = if divisor == 0.0 { *level } else { rounded };
    }
}
