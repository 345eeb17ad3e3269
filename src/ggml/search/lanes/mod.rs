//! The searches with one group in each lane of a vector. Each lane does what the scalar search
//! does, in its order; where that branches, both ways are computed and one is chosen.

mod affine;
mod codebook;
mod lattice;
mod positive;
mod refine;
mod symmetric;
mod ternary;

use crate::ggml::measures::EPSILON;
use crate::simd::Simd;

/// What groups, one in each lane, are scaled by.
struct Extremes<S: Simd> {
    /// [`largest`](crate::ggml::measures::largest) of each group; any number for those that are taken for zero.
    extreme: S::F32,
    /// The groups that are taken for zero.
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
