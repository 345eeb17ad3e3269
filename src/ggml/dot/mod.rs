//! Products of quantized rows with quantized activations, one row at a time or tile by tile.
//!
//! Every type that is multiplied here says what its levels are in one form, [`Levels`]: 256
//! columns, a *span*, are eight groups of 32 levels with a float scale each, integer scales of 16
//! within them for some types, and minimums for some. The products of levels are summed as
//! integers, which no order can change; each group's sum is scaled and added to one of eight
//! floats, that of its place in the span, by a fused multiply-add; at the end the eight are added
//! as a tree. A row alone ([`row`]) has the eight floats in the lanes of a vector, a tile
//! ([`tile`]) has rows in the lanes: the bits are the same, on every instruction set.
//!
//! Tried and lost, for tiles and rows: copying a row's last, partial span into a padded one (a third
//! of the nano's decoding); codebooks looked up one by one instead of by gathers (half of the
//! dequantizers' speed, and nothing for rows); gathers of the four cells of iq1 and iq2 (a third
//! slower; those of eight entries made rows of iq3_s three times as fast). Small closures that the
//! compiler leaves as functions without the set's instructions made unpacking nibbles a third slower.
//!
//! Knows nothing of threads or of matrices larger than a tile.

mod activation_block;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod best;
mod kernel;
mod levels;
mod portable;
mod products;
mod row;
mod set;
#[cfg(test)]
mod tests;
mod tile;
mod unpack;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use activation_block::ActivationBlock;
pub use kernel::{Inputs, RowKernel, Scratch};
pub(in crate::ggml) use levels::{LevelRange, Levels, Long};
pub(in crate::ggml) use set::{LongBytes, Set};

/// The levels of a span, as bytes.
#[cfg(test)]
pub(in crate::ggml) fn levels_of<B: Levels>(span: &[B]) -> [u8; activation_block::COLUMNS] {
    let mut levels = [[0; 32]; 8];
    for (g, levels) in levels.iter_mut().enumerate() {
        *levels = B::levels(crate::simd::Portable::<8>, span, g);
    }
    bytemuck::cast(levels)
}
