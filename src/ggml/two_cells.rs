//! Super-blocks of sixteen groups of two cells of eight weights, with a scale of four bits each: what
//! `iq2_xs` and `iq2_s` share. Knows nothing of how cells are packed.

use super::dot::{Kind, Set};
use super::packing::nibble;

/// The largest magnitude of a value.
const MAX: u8 = 43;

/// The kind of the levels for products: values and [`MAX`].
pub(super) const KIND: Kind = Kind::Unsigned { max: 2 * MAX, center: MAX };

/// The levels of two groups of signed values.
#[inline(always)]
pub(super) fn levels<S: Set>(set: S, values: [[[i8; 8]; 2]; 2]) -> S::Bytes {
    let mut levels = [0; 32];
    for (level, value) in levels.iter_mut().zip(values.as_flattened().as_flattened()) {
        *level = MAX.wrapping_add_signed(*value);
    }
    set.load(&levels)
}

/// The scale of group `j`.
#[inline(always)]
pub(super) fn scale(d: f32, scales: &[u8; 8], j: usize) -> f32 {
    d * (0.5 + f32::from(nibble(scales, j))) * 0.25
}

/// The scales of the groups, eight times as large, without the scale of the super-block.
#[inline(always)]
pub(super) fn sub_scales(scales: &[u8; 8]) -> [i8; 16] {
    let mut found = [0; 16];
    for (j, found) in found.iter_mut().enumerate() {
        *found = 2 * nibble(scales, j) as i8 + 1;
    }
    found
}
