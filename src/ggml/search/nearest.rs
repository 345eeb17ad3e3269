//! The nearest of a list of points.

use crate::ggml::grid::{Grid, Near};
use crate::simd::{MAX_LANES, Simd};

/// The point of `near` with the least error, where `values` are those of the levels; the first of
/// equals. The reference's `iq2_find_best_neighbour`, `iq3_find_best_neighbour` and
/// `iq1_find_best_neighbour2`. Those end the program or read beyond their arrays where sums
/// overflow for every point; here that gives the first.
pub(super) fn one_by_one<const N: usize>(
    grid: &Grid<N>,
    near: &[u16],
    x: &[f32; N],
    weights: &[f32; N],
    values: &[f32; 8],
) -> u16 {
    let (mut best, mut least) = (near[0], f32::MAX);
    for &point in near {
        let levels = grid.levels(point);
        let mut error = 0.0f32;
        for i in 0..N {
            let difference = values[usize::from(levels[i])] - x[i];
            error += weights[i] * difference * difference;
        }
        if error < least {
            (best, least) = (point, error);
        }
    }
    best
}

/// [`one_by_one`] with one point in each lane: the least sum of
/// `weights[i] * (values[level] - x[i])^2`, where `values` has one level's value in each lane.
///
/// What a weight adds depends on its level alone, of which there are at most eight. So that is
/// computed for all levels at once, and for each point it is only looked up and summed, in the
/// order of the scalar search.
#[inline(always)]
pub(super) fn in_lanes<S: Simd, const N: usize>(
    s: S,
    near: Near,
    x: &[f32; N],
    weights: &[f32; N],
    values: S::F32,
) -> u16 {
    let mut errors = [values; N];
    for i in 0..N {
        let difference = s.sub(values, s.splat(x[i]));
        errors[i] = s.mul(s.mul(s.splat(weights[i]), difference), difference);
    }
    let steps = s.load(&STEPS);
    let count = s.splat(near.points.len() as f32);
    let mut least = s.splat(f32::MAX);
    let mut best = s.splat(0.0);
    for start in (0..near.points.len()).step_by(S::LANES) {
        let mut levels = s.load_bits(&near.levels[start..]);
        let mut total = s.splat(0.0);
        for error in errors {
            total = s.add(total, s.lookup_lane(error, levels));
            levels = s.shift_nibble(levels);
        }
        let position = s.add(s.splat(start as f32), steps);
        // Lanes behind the end have points of other lists.
        let better = s.and(s.lt(total, least), s.lt(position, count));
        least = s.select(better, total, least);
        best = s.select(better, position, best);
    }
    let (mut least_of, mut best_of) = ([0.0f32; MAX_LANES], [0.0f32; MAX_LANES]);
    s.store(least, &mut least_of);
    s.store(best, &mut best_of);
    // The bits of numbers that are not negative have their order. Tried positions converted to
    // integers: in every lane, that took longer than all the rest.
    let mut first = u64::MAX;
    for lane in 0..S::LANES {
        let (error, position) = (least_of[lane].to_bits(), best_of[lane].to_bits());
        first = first.min(u64::from(error) << 32 | u64::from(position));
    }
    near.points[f32::from_bits(first as u32) as usize]
}

/// The number of each lane.
const STEPS: [f32; MAX_LANES] = {
    let mut steps = [0.0; MAX_LANES];
    let mut lane = 0;
    while lane < MAX_LANES {
        steps[lane] = lane as f32;
        lane += 1;
    }
    steps
};
