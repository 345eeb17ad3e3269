//! Scales of unsigned levels of values that are not negative; the scalar search is
//! `search/positive.rs`.

use crate::ggml::measures::EPSILON;
use crate::ggml::search::positive::{self, PositiveBatch};
use crate::ggml::search::way::Batch;
use crate::simd::{MAX_LANES, Simd};

impl<const N: usize> Batch for PositiveBatch<'_, N> {
    fn one_by_one(self) {
        let Self { x, max, weights, levels, scales } = self;
        for (((x, weights), levels), scale) in x.iter().zip(weights).zip(levels).zip(scales) {
            *scale = positive::fit(x, max, weights, levels);
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let PositiveBatch { x, max, weights, levels, scales } = self;
        let chunks = x.chunks(S::LANES).zip(weights.chunks(S::LANES));
        let results = levels.chunks_mut(S::LANES).zip(scales.chunks_mut(S::LANES));
        for ((x, weights), (levels, scales)) in chunks.zip(results) {
            let sub_blocks =
                SubBlocks { s, x: s.load_columns(x), weights: s.load_columns(weights), max };
            let (found, fit) = sub_blocks.search();
            s.store_columns(&found, levels);
            let mut values = [0.0; MAX_LANES];
            s.store(fit, &mut values);
            scales.copy_from_slice(&values[..scales.len()]);
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
    /// The levels and the scale.
    #[inline(always)]
    fn search(&self) -> ([S::F32; N], S::F32) {
        let s = self.s;
        let zero = s.splat(0.0);
        let top = self.x.iter().fold(zero, |top, &v| s.max(top, v));
        let nothing = s.lt(top, s.splat(EPSILON));

        let mut inverse = s.div(s.splat(self.max as f32), top);
        let mut best = self.error(inverse, |level| self.byte(level));
        for step in (-4..=4).filter(|&step| step != 0) {
            let candidate = s.div(s.splat(0.1 * step as f32 + self.max as f32), top);
            let error = self.error(candidate, |level| s.to_f32(self.cap(level)));
            let better = s.lt(error, best);
            best = s.select(better, error, best);
            inverse = s.select(better, candidate, inverse);
        }

        let mut levels = [zero; N];
        let [mut with_x, mut squares] = [zero; 2];
        for ((slot, &x), &w) in levels.iter_mut().zip(&self.x).zip(&self.weights) {
            let l = self.level(s.mul(inverse, x));
            *slot = self.byte(l);
            let l = s.to_f32(l);
            with_x = s.add(with_x, s.mul(s.mul(w, x), l));
            squares = s.add(squares, s.mul(s.mul(w, l), l));
        }
        // A lane in which nothing changed does not change later: it repeats itself.
        for _ in 0..5 {
            let mut changed = 0;
            for ((slot, &x), &w) in levels.iter_mut().zip(&self.x).zip(&self.weights) {
                let l = *slot;
                let other_x = s.sub(with_x, s.mul(s.mul(w, x), l));
                let other_squares = s.sub(squares, s.mul(s.mul(w, l), l));
                let usable = s.and(s.lt(zero, other_x), s.lt(zero, other_squares));
                let new = self.level(s.div(s.mul(x, other_squares), other_x));
                let value = s.to_f32(new);
                let other_x = s.add(other_x, s.mul(s.mul(w, x), value));
                let other_squares = s.add(other_squares, s.mul(s.mul(w, value), value));
                let better = s.lt(
                    s.mul(s.mul(with_x, with_x), other_squares),
                    s.mul(s.mul(other_x, other_x), squares),
                );
                let better = s.and_not(s.and(usable, better), s.eq(value, l));
                changed |= s.bits(better);
                *slot = s.select(better, self.byte(new), l);
                with_x = s.select(better, other_x, with_x);
                squares = s.select(better, other_squares, squares);
            }
            if changed == 0 {
                break;
            }
        }
        let scale = s.select(s.lt(zero, squares), s.div(with_x, squares), zero);
        for level in &mut levels {
            *level = s.select(nothing, zero, *level);
        }
        (levels, s.select(nothing, zero, scale))
    }

    /// The error at this scale, with of each level what `kept` leaves.
    #[inline(always)]
    fn error(&self, inverse: S::F32, kept: impl Fn(S::I32) -> S::F32) -> S::F32 {
        let s = self.s;
        let scale = s.div(s.splat(1.0), inverse);
        let mut total = s.splat(0.0);
        for i in 0..N {
            let level = kept(s.nearest_int(s.mul(inverse, self.x[i])));
            let difference = s.sub(self.x[i], s.mul(scale, level));
            total = s.add(total, s.mul(s.mul(self.weights[i], difference), difference));
        }
        total
    }

    #[inline(always)]
    fn level(&self, quotient: S::F32) -> S::I32 {
        self.cap(self.s.nearest_int(quotient))
    }

    #[inline(always)]
    fn cap(&self, level: S::I32) -> S::I32 {
        self.s.min_i32(level, self.s.splat_i32(self.max))
    }

    /// The level as the eight bits of it that are kept.
    #[inline(always)]
    fn byte(&self, level: S::I32) -> S::F32 {
        self.s.to_f32(self.s.and_i32(level, self.s.splat_i32(255)))
    }
}
