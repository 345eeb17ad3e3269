//! Scales of levels that are not evenly spaced; the scalar search is `search/codebook.rs`.

use super::{Extremes, extremes};
use crate::ggml::search::codebook::{self, LevelBatch, ScaleBatch, VALUES};
use crate::ggml::search::way::Batch;
use crate::simd::{MAX_LANES, Simd};

impl Batch for ScaleBatch<'_> {
    fn one_by_one(self) {
        let Self { x, weights, scales } = self;
        for (j, (x, scale)) in x.iter().zip(scales).enumerate() {
            *scale = codebook::fit(x, weights.map(|all| &all[j]));
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let ScaleBatch { x, weights, scales } = self;
        for (batch, (x, scales)) in x.chunks(S::LANES).zip(scales.chunks_mut(S::LANES)).enumerate()
        {
            let columns = s.load_columns(x);
            let weights = match weights {
                None => columns.map(|v| s.mul(v, v)),
                Some(all) => s.load_columns(&all[batch * S::LANES..][..x.len()]),
            };
            let mut found = [0.0; MAX_LANES];
            s.store(search(s, &columns, &weights), &mut found);
            scales.copy_from_slice(&found[..scales.len()]);
        }
    }
}

/// The scale of each sub-block.
#[inline(always)]
fn search<S: Simd>(s: S, x: &[S::F32; 32], weights: &[S::F32; 32]) -> S::F32 {
    let zero = s.splat(0.0);
    let Extremes { extreme, nothing, .. } = extremes(s, x);
    let first = LEVELS[0];
    let [with_x, squares] =
        sums(s, x, weights, s.div(s.splat(1.0), s.div(extreme, s.splat(-first))));
    let mut scale = s.select(s.lt(zero, squares), s.div(with_x, squares), zero);
    let mut best = s.mul(scale, with_x);
    for step in -7..=7 {
        let [with_x, squares] = sums(s, x, weights, s.div(s.splat(step as f32 + first), extreme));
        let more = s.lt(s.mul(best, squares), s.mul(with_x, with_x));
        let better = s.and(s.lt(zero, squares), more);
        let this_scale = s.div(with_x, squares);
        scale = s.select(better, this_scale, scale);
        best = s.select(better, s.mul(this_scale, with_x), best);
    }
    s.select(nothing, zero, scale)
}

/// Sums over the values of an inverse scale: their weighed products with `x`, and their weighed
/// squares.
#[inline(always)]
fn sums<S: Simd>(s: S, x: &[S::F32; 32], weights: &[S::F32; 32], inverse: S::F32) -> [S::F32; 2] {
    let [mut with_x, mut squares] = [s.splat(0.0); 2];
    for (&v, &w) in x.iter().zip(weights) {
        let q = s.lookup(&LEVELS, nearest(s, s.mul(inverse, v)));
        let weighed = s.mul(w, q);
        with_x = s.add(with_x, s.mul(weighed, v));
        squares = s.add(squares, s.mul(weighed, q));
    }
    [with_x, squares]
}

impl Batch for LevelBatch<'_> {
    fn one_by_one(self) {
        let Self { x, inverses, levels } = self;
        for ((x, &inverse), slot) in x.iter().zip(inverses).zip(levels) {
            *slot = codebook::levels(x, inverse);
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let LevelBatch { x, inverses, levels } = self;
        for ((x, &inverse), levels) in x.iter().zip(inverses).zip(levels) {
            let inverse = s.splat(inverse);
            let mut whole = [0; 32];
            for (x, whole) in x.chunks(S::LANES).zip(whole.chunks_mut(S::LANES)) {
                s.store_i32(nearest(s, s.mul(inverse, s.load(x))), whole);
            }
            for (level, whole) in levels.iter_mut().zip(whole) {
                *level = whole as u8;
            }
        }
    }
}

/// The values as floats.
const LEVELS: [f32; 16] = {
    let mut values = [0.0; 16];
    let mut index = 0;
    while index < 16 {
        values[index] = VALUES[index] as f32;
        index += 1;
    }
    values
};

/// Entry `index` lies midway between the values `index - step` and the one above it: whatever is
/// less is nearer to values of at most `index - step`. Midway itself the higher is taken, as by
/// the scalar search; the sums and differences of both are exact there.
const fn midway(step: usize) -> [f32; 16] {
    let mut middles = [0.0; 16];
    let mut index = step;
    while index < 16 {
        middles[index] = (LEVELS[index - step] + LEVELS[index - step + 1]) / 2.0;
        index += 1;
    }
    middles
}

/// [`codebook::nearest`](super::super::codebook::nearest) in each lane: binary search that starts
/// from the highest index, where NaN stays.
#[inline(always)]
fn nearest<S: Simd>(s: S, x: S::F32) -> S::I32 {
    const EIGHT: [f32; 16] = midway(8);
    const FOUR: [f32; 16] = midway(4);
    const TWO: [f32; 16] = midway(2);
    const ONE: [f32; 16] = midway(1);
    let lower = |index: S::I32, below: S::Mask, step: i32| {
        s.sub_i32(index, s.keep_i32(below, s.splat_i32(step)))
    };
    let below = s.lt(x, s.splat(EIGHT[15]));
    let middle = s.select(below, s.splat(FOUR[7]), s.splat(FOUR[15]));
    let index = lower(s.splat_i32(15), below, 8);
    let index = lower(index, s.lt(x, middle), 4);
    let index = lower(index, s.lt(x, s.lookup(&TWO, index)), 2);
    lower(index, s.lt(x, s.lookup(&ONE, index)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    /// Both only ever go up with `x`, so it is enough to compare them around each step.
    #[test]
    fn nearest_is_the_scalar_one() {
        let mut all: Vec<f32> = vec![f32::NAN, f32::INFINITY, -f32::INFINITY, 0.0, -0.0, 1e-42];
        for value in LEVELS.into_iter().chain(midway(1)) {
            all.extend([value.next_down(), value, value.next_up()]);
        }
        for x in all {
            assert_eq!(nearest(Portable::<8>, [x; 8]), [i32::from(codebook::nearest(x)); 8], "{x}");
        }
    }
}
