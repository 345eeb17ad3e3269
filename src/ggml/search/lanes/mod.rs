//! The searches with one sub-block in each lane of a vector. Each lane does what the scalar search
//! does, in its order; where that branches, both ways are computed and one is chosen.
//!
//! What made them fast with AVX-512, in 10^6 weights of q3_K a second: transposes by shuffles instead
//! of through memory, 160 to 276; masks combined by an instruction of their own, an eighth; 1024
//! sub-blocks together instead of 256, a sixth, since four of five are done after one round; inverses
//! in place of divisions but near ties, vectors stored where sub-blocks are side by side and rare
//! lanes under a branch, 353 to 518. An estimate of the search's quotients would take as many
//! instructions as the division takes cycles.

mod affine;
mod codebook;
mod lattice;
mod positive;
mod refine;
mod symmetric;
mod ternary;

use crate::ggml::measures::EPSILON;
use crate::simd::Simd;

/// What sub-blocks, one in each lane, are scaled by.
struct Extremes<S: Simd> {
    /// [`largest`](crate::ggml::measures::largest) of each sub-block; any number for those that are
    /// taken for zero.
    extreme: S::F32,
    /// The sub-blocks that are taken for zero.
    nothing: S::Mask,
    /// Whether all values are finite.
    finite: bool,
}

#[inline(always)]
fn extremes<S: Simd>(s: S, x: &[S::F32]) -> Extremes<S> {
    let [mut amax, mut extreme] = [s.splat(0.0); 2];
    for &v in x {
        let magnitude = s.abs(v);
        extreme = s.select(s.lt(amax, magnitude), v, extreme);
        amax = s.max(magnitude, amax);
    }
    let within = |v: S::F32| s.le(s.abs(v), s.splat(f32::MAX));
    let finite = x.iter().fold(within(amax), |all, &v| s.and(all, within(v)));
    let nothing = s.lt(amax, s.splat(EPSILON));
    Extremes { extreme: s.select(nothing, s.splat(1.0), extreme), nothing, finite: s.all(finite) }
}
