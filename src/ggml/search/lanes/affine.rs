//! Scales and minimums of unsigned levels; the scalar search is `search/affine.rs`.

use crate::ggml::search::affine::{Affine, AffineBatch, AffineSearch, Deviation, ErrorWeights};
use crate::ggml::search::way::Batch;
use crate::simd::{MAX_LANES, Simd};

impl<const N: usize> Batch for AffineBatch<'_, N> {
    fn one_by_one(self) {
        let Self { search, x, weights, levels, fits } = self;
        for (j, ((x, levels), fit)) in x.iter().zip(levels).zip(fits).enumerate() {
            *fit = search.fit(x, &weights.of(j, x), levels);
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let AffineBatch { search, x, weights, levels, fits } = self;
        let batches = x.chunks(S::LANES).zip(levels.chunks_mut(S::LANES));
        for (batch, ((x, levels), fits)) in batches.zip(fits.chunks_mut(S::LANES)).enumerate() {
            let columns = s.load_columns(x);
            let weights = match weights {
                ErrorWeights::Magnitude => magnitudes(s, &columns),
                ErrorWeights::Blurred => blurred(s, &columns),
                ErrorWeights::Given(all) => s.load_columns(&all[batch * S::LANES..][..x.len()]),
            };
            let sub_blocks = SubBlocks { s, search, x: columns, weights };
            let (best, found) = sub_blocks.search();
            s.store_columns(&found, levels);
            for (lane, fit) in fits.iter_mut().enumerate() {
                let [scale, min, weight] = [best[0][lane], best[1][lane], best[2][lane]];
                *fit = Affine { scale, min: -min, weight };
            }
        }
    }
}

/// [`ErrorWeights::Magnitude`].
#[inline(always)]
fn magnitudes<S: Simd, const N: usize>(s: S, x: &[S::F32; N]) -> [S::F32; N] {
    let mut weights = *x;
    for weight in &mut weights {
        *weight = s.abs(*weight);
    }
    weights
}

/// [`ErrorWeights::Blurred`].
#[inline(always)]
fn blurred<S: Simd, const N: usize>(s: S, x: &[S::F32; N]) -> [S::F32; N] {
    let squares = x.iter().fold(s.splat(0.0), |sum, &v| s.add(sum, s.mul(v, v)));
    let average = s.sqrt(s.div(squares, s.splat(N as f32)));
    let mut weights = magnitudes(s, x);
    for weight in &mut weights {
        *weight = s.add(average, *weight);
    }
    weights
}

/// One sub-block in each lane.
struct SubBlocks<S: Simd, const N: usize> {
    s: S,
    search: AffineSearch,
    x: [S::F32; N],
    weights: [S::F32; N],
}

/// Magnitudes up to this are rounded by [`Simd::nearest`] as by `nearest_int`.
const WHOLE: f32 = 4_194_303.0;

impl<S: Simd, const N: usize> SubBlocks<S, N> {
    /// Scale, smallest value and weight of each sub-block, and the levels.
    #[inline(always)]
    fn search(&self) -> ([[f32; MAX_LANES]; 3], [S::F32; N]) {
        let s = self.s;
        let AffineSearch { max, steps, guarded, .. } = self.search;
        let zero = s.splat(0.0);
        let (mut low, mut top) = (self.x[0], self.x[0]);
        let mut sum_w = self.weights[0];
        let mut sum_x = s.mul(sum_w, self.x[0]);
        for i in 1..N {
            low = s.min(self.x[i], low);
            top = s.max(self.x[i], top);
            sum_w = s.add(sum_w, self.weights[i]);
            sum_x = s.add(sum_x, s.mul(self.weights[i], self.x[i]));
        }
        let lowest = low;
        let mut min = s.select(s.lt(zero, low), zero, low);
        let flat = s.le(top, min);
        // Any range does for sub-blocks without one: what is found for them is not used.
        let range = |min| s.select(flat, s.splat(1.0), s.sub(top, min));
        let bounds = [s.select(flat, zero, lowest), s.select(flat, zero, top)];

        let inverse = s.div(s.splat(max as f32), range(min));
        let mut scale = s.div(s.splat(1.0), inverse);
        let mut levels = self.levels(false, inverse, min, bounds).0;
        let mut best = self.total_error(&levels, scale, min);
        best = s.select(flat, s.splat(f32::NEG_INFINITY), best);
        for n in 0..=steps.count {
            let spread = steps.first + steps.step * n as f32 + max as f32;
            let inverse = s.div(s.splat(spread), range(min));
            let (candidate, [sum_l, sum_l2, sum_xl]) = self.levels(guarded, inverse, min, bounds);
            let determinant = s.sub(s.mul(sum_w, sum_l2), s.mul(sum_l, sum_l));
            let solvable = s.lt(zero, determinant);
            let this_scale = s.div(s.sub(s.mul(sum_w, sum_xl), s.mul(sum_x, sum_l)), determinant);
            let this_min = s.div(s.sub(s.mul(sum_l2, sum_x), s.mul(sum_l, sum_xl)), determinant);
            let above = s.lt(zero, this_min);
            let this_min = s.select(above, zero, this_min);
            let this_scale = s.select(above, s.div(sum_xl, sum_l2), this_scale);
            let this_error = self.total_error(&candidate, this_scale, this_min);
            let better = s.and(solvable, s.lt(this_error, best));
            if s.any(better) {
                // Tried to write the chosen levels elsewhere and swap: no gain.
                for (level, new) in levels.iter_mut().zip(candidate) {
                    *level = s.select(better, new, *level);
                }
                best = s.select(better, this_error, best);
                scale = s.select(better, this_scale, scale);
                min = s.select(better, this_min, min);
            }
        }
        scale = s.select(flat, zero, scale);
        for level in &mut levels {
            *level = s.select(flat, zero, *level);
        }
        let mut result = [[0.0; MAX_LANES]; 3];
        for (values, out) in [scale, min, sum_w].into_iter().zip(&mut result) {
            s.store(values, out);
        }
        (result, levels)
    }

    /// The levels at this scale with the sums over them, of the levels, of their squares and of
    /// their products with `x`, each weighed. `bounds` are the smallest and largest `x`.
    #[inline(always)]
    fn levels(
        &self,
        guarded: bool,
        inverse: S::F32,
        min: S::F32,
        bounds: [S::F32; 2],
    ) -> ([S::F32; N], [S::F32; 3]) {
        let s = self.s;
        // Rounding keeps order, so all quotients lie between those of the bounds.
        let within = |x| s.le(s.abs(s.mul(inverse, s.sub(x, min))), s.splat(WHOLE));
        if guarded || s.all(s.and(within(bounds[0]), within(bounds[1]))) {
            self.levels_by(|x| {
                let quotient = s.mul(inverse, s.sub(x, min));
                // In this order NaN becomes zero.
                s.nearest(s.min(s.max(quotient, s.splat(0.0)), s.splat(self.search.max as f32)))
            })
        } else {
            // Sub-blocks of subnormals get here: the reference then keeps some bits of infinities.
            self.levels_by(|x| {
                let level = s.nearest_int(s.mul(inverse, s.sub(x, min)));
                let (zero, max) = (s.splat_i32(0), s.splat_i32(self.search.max));
                s.to_f32(s.min_i32(s.max_i32(level, zero), max))
            })
        }
    }

    #[inline(always)]
    fn levels_by(&self, level: impl Fn(S::F32) -> S::F32) -> ([S::F32; N], [S::F32; 3]) {
        let s = self.s;
        let zero = s.splat(0.0);
        let mut levels = [zero; N];
        let [mut sum_l, mut sum_l2, mut sum_xl] = [zero; 3];
        for ((slot, &x), &weight) in levels.iter_mut().zip(&self.x).zip(&self.weights) {
            let l = level(x);
            *slot = l;
            let weighed = s.mul(weight, l);
            sum_l = s.add(sum_l, weighed);
            sum_l2 = s.add(sum_l2, s.mul(weighed, l));
            sum_xl = s.add(sum_xl, s.mul(weighed, x));
        }
        (levels, [sum_l, sum_l2, sum_xl])
    }

    #[inline(always)]
    fn total_error(&self, levels: &[S::F32; N], scale: S::F32, min: S::F32) -> S::F32 {
        let s = self.s;
        let mut total = s.splat(0.0);
        for ((&level, &x), &weight) in levels.iter().zip(&self.x).zip(&self.weights) {
            let difference = s.sub(s.add(s.mul(scale, level), min), x);
            let error = match self.search.error {
                Deviation::Squared => s.mul(difference, difference),
                Deviation::Absolute => s.abs(difference),
            };
            total = s.add(total, s.mul(weight, error));
        }
        total
    }
}
