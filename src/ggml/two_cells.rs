//! Super-blocks of sixteen sub-blocks of two cells of eight weights, with a scale of four bits each:
//! what `iq2_xs` and `iq2_s` share. Knows nothing of how cells are packed.

use super::dot::{LevelRange, Set};
use super::packing::{nibble, spread_nibbles};
use super::scales;

/// The largest magnitude of a value.
const MAX: u8 = 43;

/// The range of the levels for products: values and [`MAX`].
pub(super) const RANGE: LevelRange = LevelRange::Unsigned { max: 2 * MAX, center: MAX };

/// The levels of two sub-blocks, whose values are the magnitudes, below zero where `minus` is 255.
#[inline(always)]
pub(super) fn levels<S: Set>(set: S, magnitudes: S::Bytes, minus: S::Bytes) -> S::Bytes {
    set.offset(set.negate(magnitudes, minus), MAX)
}

/// The scale of sub-block `j`.
#[inline(always)]
pub(super) fn scale(d: f32, scales: &[u8; 8], j: usize) -> f32 {
    d * (0.5 + f32::from(nibble(scales, j))) * 0.25
}

/// The scales of the sub-blocks, eight times as large, without the scale of the super-block.
#[inline(always)]
pub(super) fn sub_scales(scales: &[u8; 8]) -> [i8; 16] {
    let [low, high]: [[u8; 4]; 2] = bytemuck::cast(*scales);
    bytemuck::cast([low, high].map(|scales| scales::odd(spread_nibbles(scales))))
}
