//! Scales of signed levels around zero; the scalar search is `search/symmetric.rs`.

use super::{Extremes, extremes};
use crate::ggml::search::symmetric::{self, SymmetricBatch};
use crate::ggml::search::way::Batch;
use crate::simd::{MAX_LANES, Simd};

impl<const N: usize> Batch for SymmetricBatch<'_, N> {
    fn one_by_one(self) {
        let Self { x, max, weights, levels, scales } = self;
        for (j, ((x, levels), scale)) in x.iter().zip(levels).zip(scales).enumerate() {
            *scale = symmetric::fit(x, max, weights.map(|all| &all[j]), levels);
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let SymmetricBatch { x, max, weights, levels, scales } = self;
        let batches = x.chunks(S::LANES).zip(levels.chunks_mut(S::LANES));
        for (batch, ((x, levels), scales)) in batches.zip(scales.chunks_mut(S::LANES)).enumerate() {
            let columns = s.load_columns(x);
            let weights = match weights {
                None => {
                    let mut squares = columns;
                    for square in &mut squares {
                        *square = s.mul(*square, *square);
                    }
                    squares
                }
                Some(all) => s.load_columns(&all[batch * S::LANES..][..x.len()]),
            };
            let sub_blocks = SubBlocks { s, x: columns, weights, max };
            let ([found, inverses], nothing) = sub_blocks.search();
            scales.copy_from_slice(&found[..scales.len()]);
            for (lane, (x, levels)) in x.iter().zip(levels).enumerate() {
                if nothing >> lane & 1 == 1 {
                    *levels = [0; N];
                } else {
                    symmetric::levels(x, inverses[lane], max, levels);
                }
            }
        }
    }
}

/// One sub-block in each lane.
struct SubBlocks<S: Simd, const N: usize> {
    s: S,
    x: [S::F32; N],
    weights: [S::F32; N],
    max: i32,
}

impl<S: Simd, const N: usize> SubBlocks<S, N> {
    /// Scale and inverse scale of the levels of each sub-block, and the sub-blocks that are taken for
    /// zero, as bits.
    #[inline(always)]
    fn search(&self) -> ([[f32; MAX_LANES]; 2], u32) {
        let s = self.s;
        let Extremes { extreme, nothing, finite } = extremes(s, &self.x);
        let [scale, inverse] =
            if finite { self.tries::<true>(extreme) } else { self.tries::<false>(extreme) };
        let mut result = [[0.0; MAX_LANES]; 2];
        s.store(s.select(nothing, s.splat(0.0), scale), &mut result[0]);
        s.store(inverse, &mut result[1]);
        (result, s.bits(nothing))
    }

    /// The best scale and the inverse scale that its levels are rounded by.
    #[inline(always)]
    fn tries<const FINITE: bool>(&self, extreme: S::F32) -> [S::F32; 2] {
        let (s, max) = (self.s, self.max as f32);
        let zero = s.splat(0.0);
        let mut weighed = self.x;
        for (x, &w) in weighed.iter_mut().zip(&self.weights) {
            *x = s.mul(w, *x);
        }
        let mut inverse = s.div(s.splat(-max), extreme);
        let [with_x, squares] = self.sums::<FINITE>(&weighed, inverse);
        let mut scale = s.select(s.eq(squares, zero), zero, s.div(with_x, squares));
        let mut best = s.mul(scale, with_x);
        for step in (-9..=9).filter(|&step| step != 0) {
            let candidate = s.div(s.splat(-(max + 0.1 * step as f32)), extreme);
            let [with_x, squares] = self.sums::<FINITE>(&weighed, candidate);
            let more = s.lt(s.mul(best, squares), s.mul(with_x, with_x));
            let better = s.and(s.lt(zero, squares), more);
            let this_scale = s.div(with_x, squares);
            inverse = s.select(better, candidate, inverse);
            scale = s.select(better, this_scale, scale);
            best = s.select(better, s.mul(this_scale, with_x), best);
        }
        [scale, inverse]
    }

    /// Sums over the levels of an inverse scale: their products with the weighed values, and their
    /// weighed squares.
    #[inline(always)]
    fn sums<const FINITE: bool>(&self, weighed: &[S::F32; N], inverse: S::F32) -> [S::F32; 2] {
        let s = self.s;
        let [mut with_x, mut squares] = [s.splat(0.0); 2];
        for ((&x, &w), &wx) in self.x.iter().zip(&self.weights).zip(weighed) {
            let l = self.level::<FINITE>(s.mul(inverse, x));
            with_x = s.add(with_x, s.mul(wx, l));
            squares = s.add(squares, s.mul(s.mul(w, l), l));
        }
        [with_x, squares]
    }

    /// Rounds a quotient, of sub-blocks whose values are all finite or of any.
    #[inline(always)]
    fn level<const FINITE: bool>(&self, quotient: S::F32) -> S::F32 {
        let s = self.s;
        if FINITE {
            // No magnitude is above the extreme's, so no quotient's is above `max` and what the
            // last step adds to it.
            let (low, high) = (s.splat(-self.max as f32), s.splat((self.max - 1) as f32));
            s.min(s.max(s.nearest(quotient), low), high)
        } else {
            // Scales of sub-blocks whose sums overflowed get here: the reference then keeps some bits
            // of infinities.
            let (low, high) = (s.splat_i32(-self.max), s.splat_i32(self.max - 1));
            s.to_f32(s.min_i32(s.max_i32(s.nearest_int(quotient), low), high))
        }
    }
}
