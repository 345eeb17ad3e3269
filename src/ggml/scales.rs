//! The scales of a run's groups in a vector, as products take them.

use super::dot::Set;
use super::le::F16Le;

/// The scales of blocks of 32, one of each; zeros where there are fewer than eight.
#[inline(always)]
pub(super) fn of_blocks<S: Set>(set: S, scales: impl Iterator<Item = F16Le>) -> S::F32 {
    let mut halves = [0; 8];
    for (half, scale) in halves.iter_mut().zip(scales) {
        *half = scale.bits();
    }
    set.widen(halves)
}

/// The scales of the groups of a super-block: `d` times the level of each.
#[inline(always)]
pub(super) fn of_groups<S: Set>(set: S, d: f32, level: impl Fn(usize) -> u8) -> S::F32 {
    let mut scales = [0.0; 8];
    for (j, scale) in scales.iter_mut().enumerate() {
        *scale = f32::from(level(j));
    }
    set.mul(set.load_f32(&scales), set.splat(d))
}
