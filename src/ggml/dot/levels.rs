//! What the products need to know of a block type.

use crate::ggml::block::Block;

use super::activation_block::COLUMNS;
use super::{LongBytes, Set};

/// How the byte of a level is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ggml) enum LevelRange {
    /// From 0 to `max`, which is at most 128; `center` stands for zero.
    Unsigned { max: u8, center: u8 },
    /// From -128 to 127.
    Signed,
}

/// What a vector of 64 bytes holds of the levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ggml) enum Long {
    /// 16 levels of each of four groups.
    Halves,
    /// The levels of two groups.
    Pairs,
}

/// A block whose weights are `scale * sub_scale * (level - center) + offset * min`.
///
/// A *span* is a slice of the blocks of 256 columns: one super-block, or eight blocks of 32. Its
/// eight groups have 32 columns each.
pub(in crate::ggml) trait Levels: Block {
    /// How levels are to be read.
    const RANGE: LevelRange;
    /// Whether there are sub-scales, for 16 columns each; not with signed levels.
    const SUB_SCALES: bool = false;
    /// Whether there are minimums.
    const MINS: bool = false;

    /// The levels of one group.
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes;

    /// Whether levels come in vectors of 64 bytes with fewer instructions than group by group, and how;
    /// unsigned levels without sub-scales only, of which sums of eight products fit into 16 bits.
    const LONG: Option<Long> = None;

    /// Of types that are [`LONG`](Self::LONG): bytes of two levels each, the first 16 levels of a group
    /// in the low nibbles and the last 16 in the high ones ([`Long::Halves`]), or a half of one group and
    /// that of the next ([`Long::Pairs`]: the first halves, the last ones, the first of the next two).
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "has no such vectors yet"))]
    fn nibbles(_: &[Self], _piece: usize) -> &[u8; 16] {
        unreachable!("only for types that are `LONG`")
    }

    /// Of types that are [`LONG`](Self::LONG): the levels that nibbles stand for.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "has no such vectors yet"))]
    #[inline(always)]
    fn levels_of<S: LongBytes>(_: S, nibbles: S::Long) -> S::Long {
        nibbles
    }

    /// Of [`Long::Pairs`]: the levels of the groups `2 pair` and `2 pair + 1`.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "has no such vectors yet"))]
    fn pair<S: LongBytes>(_: S, _: &[Self], _pair: usize) -> S::Long {
        unreachable!("only for types that are `Long::Pairs`")
    }

    /// The scales of the groups.
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32;

    /// The sub-scales of 16 columns each.
    #[inline(always)]
    fn sub_scales(_: &[Self]) -> [i8; 16] {
        [1; 16]
    }

    /// The minimums of 16 columns each.
    #[inline(always)]
    fn mins(_: &[Self]) -> [i8; 16] {
        [0; 16]
    }

    /// What a minimum of one adds to the weights of each group.
    #[inline(always)]
    fn offsets<S: Set>(set: S, _: &[Self]) -> S::F32 {
        set.splat(0.0)
    }
}

impl LevelRange {
    /// The level that stands for zero.
    pub(super) const fn center(self) -> i16 {
        match self {
            LevelRange::Unsigned { center, .. } => center as i16,
            LevelRange::Signed => 0,
        }
    }

    /// Whether sums of `products` products of a level and an activation fit into 16 bits.
    pub(super) const fn fits(self, products: u32) -> bool {
        match self {
            LevelRange::Unsigned { max, .. } => products * 127 * max as u32 <= i16::MAX as u32,
            LevelRange::Signed => products <= 2,
        }
    }
}

/// Blocks in a span.
pub(super) const fn blocks_per_span<B: Block>() -> usize {
    COLUMNS / B::TYPE.block_size()
}
