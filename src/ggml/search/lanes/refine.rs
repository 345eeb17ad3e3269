//! Scales of few signed levels around zero; the scalar search is `symmetric::refine`.

use super::{Extremes, extremes};
use crate::ggml::simd::{MAX_LANES, Simd};

/// Vectors of groups that are searched side by side: within a group each step waits for the one
/// before, a division among them.
const ABREAST: usize = 4;

/// [`symmetric::refine`](super::super::symmetric::refine) for each group.
#[inline(always)]
pub fn refine<S: Simd, const N: usize>(
    s: S,
    x: &[[f32; N]],
    max: i32,
    levels: &mut [[u8; N]],
    scales: &mut [f32],
) {
    let batch = S::LANES * ABREAST;
    let results = levels.chunks_mut(batch).zip(scales.chunks_mut(batch));
    for (x, (levels, scales)) in x.chunks(batch).zip(results) {
        // Written out: the body of a closure that is called four times was not inlined, and so not
        // compiled for the set, at half the speed.
        let groups: [Group<S, N>; ABREAST] = [
            Group::new(s, part(s, x, 0), max),
            Group::new(s, part(s, x, 1), max),
            Group::new(s, part(s, x, 2), max),
            Group::new(s, part(s, x, 3), max),
        ];
        let (mut found, mut sums) = ([[s.splat(0.0); N]; ABREAST], [[s.splat(0.0); 2]; ABREAST]);
        for (group, (found, sums)) in groups.iter().zip(found.iter_mut().zip(&mut sums)) {
            *sums = group.start(found);
        }
        // Tried levels that are replaced where they are, and sums beside them: compiled to stores by
        // mask, the costliest lines of the search in a profile on Zen 3.
        let mut other = found;
        let (mut old, mut new) = (&mut found, &mut other);
        // A lane in which nothing changed does not change later: it repeats itself.
        for _ in 0..5 {
            let mut changed = 0;
            for i in 0..N {
                for k in 0..ABREAST {
                    let bits;
                    (new[k][i], sums[k], bits) = groups[k].step(i, old[k][i], sums[k]);
                    changed |= bits;
                }
            }
            (old, new) = (new, old);
            if changed == 0 {
                break;
            }
        }
        let results = levels.chunks_mut(S::LANES).zip(scales.chunks_mut(S::LANES));
        let found = groups.iter().zip(old.iter().zip(sums));
        for ((group, (found, sums)), (levels, scales)) in found.zip(results) {
            group.store(found, sums, levels, scales);
        }
    }
}

/// The groups of vector `k`; the last ones for vectors without groups.
#[inline(always)]
fn part<S: Simd, const N: usize>(_: S, x: &[[f32; N]], k: usize) -> &[[f32; N]] {
    let start = (k * S::LANES).min((x.len() - 1) / S::LANES * S::LANES);
    &x[start..(start + S::LANES).min(x.len())]
}

/// One group in each lane.
struct Group<S: Simd, const N: usize> {
    s: S,
    max: i32,
    x: [S::F32; N],
    /// Squares of `x`, which weigh the errors.
    weights: [S::F32; N],
    extreme: S::F32,
    /// Whether the group is taken for zero.
    nothing: S::Mask,
}

/// Of levels: the sum of their products with the weighed values, and that of their weighed squares.
type Sums<S> = [<S as Simd>::F32; 2];

impl<S: Simd, const N: usize> Group<S, N> {
    #[inline(always)]
    fn new(s: S, x: &[[f32; N]], max: i32) -> Self {
        let x = s.load_columns(x);
        let mut weights = x;
        for w in &mut weights {
            *w = s.mul(*w, *w);
        }
        let Extremes { extreme, nothing, .. } = extremes(s, &x);
        Self { s, max, x, weights, extreme, nothing }
    }

    /// The levels that the largest value gives.
    #[inline(always)]
    fn start(&self, levels: &mut [S::F32; N]) -> Sums<S> {
        let s = self.s;
        let inverse = s.div(s.splat(-self.max as f32), self.extreme);
        let mut sums = [s.splat(0.0); 2];
        for (i, level) in levels.iter_mut().enumerate() {
            *level = self.level(s.mul(inverse, self.x[i]));
            let [with_x, squares] = self.terms(i, *level);
            sums = [s.add(sums[0], with_x), s.add(sums[1], squares)];
        }
        sums
    }

    /// Moves level `i` where that lessens the error: the level, the sums, and the lanes where it
    /// did as bits.
    #[inline(always)]
    fn step(&self, i: usize, level: S::F32, sums: Sums<S>) -> (S::F32, Sums<S>, u32) {
        let s = self.s;
        let zero = s.splat(0.0);
        let [with_x, squares] = self.terms(i, level);
        let other_x = s.sub(sums[0], with_x);
        let other_squares = s.sub(sums[1], squares);
        let usable = s.lt(zero, other_x);
        let new = self.level(s.div(s.mul(self.x[i], other_squares), other_x));
        let [with_x, squares] = self.terms(i, new);
        let other_x = s.add(other_x, with_x);
        let other_squares = s.add(other_squares, squares);
        let lessens = s.lt(
            s.mul(s.mul(sums[0], sums[0]), other_squares),
            s.mul(s.mul(other_x, other_x), sums[1]),
        );
        let better = s.and(s.and(usable, s.lt(zero, other_squares)), lessens);
        let better = s.and_not(better, s.eq(new, level));
        let sums = [s.select(better, other_x, sums[0]), s.select(better, other_squares, sums[1])];
        (s.select(better, new, level), sums, s.bits(better))
    }

    /// What a level of weight `i` adds to the sums.
    #[inline(always)]
    fn terms(&self, i: usize, level: S::F32) -> Sums<S> {
        let (s, w) = (self.s, self.weights[i]);
        [s.mul(s.mul(w, self.x[i]), level), s.mul(s.mul(w, level), level)]
    }

    #[inline(always)]
    fn level(&self, quotient: S::F32) -> S::F32 {
        let s = self.s;
        let (low, high) = (s.splat_i32(-self.max), s.splat_i32(self.max - 1));
        s.to_f32(s.min_i32(s.max_i32(s.nearest_int(quotient), low), high))
    }

    #[inline(always)]
    fn store(
        &self,
        found: &[S::F32; N],
        [with_x, squares]: Sums<S>,
        levels: &mut [[u8; N]],
        scales: &mut [f32],
    ) {
        let s = self.s;
        let zero = s.splat(0.0);
        let scale = s.select(s.lt(zero, squares), s.div(with_x, squares), zero);
        let mut values = [0.0; MAX_LANES];
        s.store(s.select(self.nothing, zero, scale), &mut values);
        scales.copy_from_slice(&values[..scales.len()]);
        let mut found = *found;
        for level in &mut found {
            *level = s.select(self.nothing, zero, s.add(*level, s.splat(self.max as f32)));
        }
        s.store_columns(&found, levels, |level| level as u8);
    }
}
