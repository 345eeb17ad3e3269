//! The scales of a span's groups in a vector, as products take them.

use super::dot::Set;
use super::le::F16Le;

/// The scales of blocks of 32, one of each; zeros where there are fewer than eight.
#[inline(always)]
pub(super) fn of_blocks<S: Set>(set: S, scales: impl Iterator<Item = F16Le>) -> S::F32 {
    let mut halves = [0u64; 2];
    for (j, scale) in scales.enumerate() {
        halves[j / 4] |= u64::from(scale.bits()) << (16 * (j % 4));
    }
    set.widen(halves)
}

/// The scales of the groups of a super-block: `d` times the level of each.
#[inline(always)]
pub(super) fn of_groups<S: Set>(set: S, d: F16Le, levels: [i8; 8]) -> S::F32 {
    set.mul(set.integers(levels), set.splat_half(d.bits()))
}

/// Levels that are one more than twice some bytes, all below 64.
#[inline(always)]
pub(super) fn odd(bytes: u64) -> [i8; 8] {
    bytemuck::cast((bytes << 1 | 0x0101_0101_0101_0101).to_le_bytes())
}
