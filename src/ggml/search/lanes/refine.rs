//! Scales of few signed levels around zero; the scalar search is `symmetric::refine`.

use super::{Extremes, extremes};
use crate::ggml::row::MANY_SUPER_BLOCKS;
use crate::ggml::search::symmetric::{self, RefinedBatch};
use crate::ggml::search::way::Batch;
use crate::simd::{MAX_LANES, Simd};

/// Vectors of sub-blocks that are searched side by side: within a sub-block each step waits for the
/// one before, a division among them.
const ABREAST: usize = 4;

/// Sub-blocks that are searched round by round together. Four of five are done after the first round,
/// while of as many as are searched side by side one nearly always takes four: with 256 the lanes
/// were as busy as if every sub-block took 1.9 rounds, with 1024 1.4; each takes 1.26.
const SUB_BLOCKS: usize = 16 * MANY_SUPER_BLOCKS;

/// The most rounds.
const ROUNDS: usize = 5;

impl<const N: usize> Batch for RefinedBatch<'_, N> {
    fn one_by_one(self) {
        let Self { x, max, levels, scales } = self;
        for ((x, levels), scale) in x.iter().zip(levels).zip(scales) {
            *scale = symmetric::refine(x, max, levels);
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let RefinedBatch { x, max, levels, scales } = self;
        // Filled where they are: what functions answered with was copied, an eighth of the time.
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let mut sub_blocks = [SubBlocks::<S, N>::new(s, max); ABREAST];
        let (mut old, mut new) = ([[zero; N]; ABREAST], [[zero; N]; ABREAST]);
        let mut sums = [[zero; 2]; ABREAST];
        let results = levels.chunks_mut(SUB_BLOCKS).zip(scales.chunks_mut(SUB_BLOCKS));
        for (x, (levels, scales)) in x.chunks(SUB_BLOCKS).zip(results) {
            let mut found = Found { max, levels, scales, sums: [[0.0; SUB_BLOCKS]; 2] };
            // The sub-blocks that may still change, and more of the last one.
            let mut open = [x.len() - 1; SUB_BLOCKS];
            for (i, open) in open[..x.len()].iter_mut().enumerate() {
                *open = i;
            }
            let mut count = x.len();
            for round in 0..ROUNDS {
                let mut left = 0;
                for start in (0..count).step_by(S::LANES * ABREAST) {
                    let mut chosen = [[0; MAX_LANES]; ABREAST];
                    for (k, chosen) in chosen.iter_mut().enumerate() {
                        let part = &open[start + k * S::LANES..][..S::LANES];
                        chosen[..S::LANES].copy_from_slice(part);
                        sub_blocks[k].fill(x, chosen);
                        sums[k] = if round == 0 {
                            sub_blocks[k].start(&mut old[k])
                        } else {
                            found.take(s, chosen, &mut old[k])
                        };
                    }
                    // A number, not a mask: on masks of four vectors the compiler works elsewhere.
                    let mut moved = [zero; ABREAST];
                    // Tried levels that are replaced where they are: compiled to stores by mask, the
                    // costliest lines of the search in a profile on Zen 3.
                    for i in 0..N {
                        for k in 0..ABREAST {
                            let (level, better);
                            (level, sums[k], better) = sub_blocks[k].step(i, old[k][i], sums[k]);
                            new[k][i] = level;
                            moved[k] = s.select(better, one, moved[k]);
                        }
                    }
                    for k in 0..ABREAST {
                        let lanes = S::LANES.min(count.saturating_sub(start + k * S::LANES));
                        found.put(s, &chosen[k], lanes, &new[k], sums[k]);
                        let mut changed = s.bits(s.lt(zero, moved[k])) & ((1 << lanes) - 1);
                        while changed != 0 {
                            // Never beyond the places that have been read.
                            open[left] = chosen[k][changed.trailing_zeros() as usize];
                            left += 1;
                            changed &= changed - 1;
                        }
                    }
                }
                if left == 0 {
                    break;
                }
                count = left;
                let last = open[count - 1];
                open[count..count.next_multiple_of(S::LANES * ABREAST)].fill(last);
            }
        }
    }
}

/// Of levels: the sum of their products with the weighed values, and that of their weighed squares.
type Sums<S> = [<S as Simd>::F32; 2];

/// What is found of sub-blocks so far.
struct Found<'a, const N: usize> {
    max: i32,
    levels: &'a mut [[u8; N]],
    scales: &'a mut [f32],
    sums: [[f32; SUB_BLOCKS]; 2],
}

impl<const N: usize> Found<'_, N> {
    /// What an earlier round found of the chosen sub-blocks.
    #[inline(always)]
    fn take<S: Simd>(
        &self,
        s: S,
        chosen: &[usize; MAX_LANES],
        columns: &mut [S::F32; N],
    ) -> Sums<S> {
        let (mut levels, mut sums) = ([[0.0; N]; MAX_LANES], [[0.0; MAX_LANES]; 2]);
        for (lane, &sub_block) in chosen[..S::LANES].iter().enumerate() {
            for (level, &byte) in levels[lane].iter_mut().zip(&self.levels[sub_block]) {
                *level = (i32::from(byte) - self.max) as f32;
            }
            (sums[0][lane], sums[1][lane]) = (self.sums[0][sub_block], self.sums[1][sub_block]);
        }
        s.load_columns_of(&levels.each_ref(), columns);
        [s.load(&sums[0]), s.load(&sums[1])]
    }

    /// Keeps what a round found of the chosen sub-blocks, which ascend in the first `lanes` lanes.
    #[inline(always)]
    fn put<S: Simd>(
        &mut self,
        s: S,
        chosen: &[usize; MAX_LANES],
        lanes: usize,
        levels: &[S::F32; N],
        [with_x, squares]: Sums<S>,
    ) {
        let zero = s.splat(0.0);
        let scale = s.select(s.lt(zero, squares), s.div(with_x, squares), zero);
        let mut shifted = *levels;
        for level in &mut shifted {
            *level = s.add(*level, s.splat(self.max as f32));
        }
        // Sub-blocks side by side, as those of the first round are.
        let first = chosen[0];
        if lanes == S::LANES && chosen[S::LANES - 1] == first + S::LANES - 1 {
            s.store(with_x, &mut self.sums[0][first..]);
            s.store(squares, &mut self.sums[1][first..]);
            s.store(scale, &mut self.scales[first..]);
            s.store_columns(&shifted, &mut self.levels[first..][..S::LANES]);
            return;
        }
        let mut columns = [[0.0; MAX_LANES]; 3];
        for (column, vector) in columns.iter_mut().zip([with_x, squares, scale]) {
            s.store(vector, column);
        }
        let mut rows = [[0; N]; MAX_LANES];
        s.store_columns(&shifted, &mut rows);
        for (lane, &sub_block) in chosen[..S::LANES].iter().enumerate() {
            self.levels[sub_block] = rows[lane];
            (self.sums[0][sub_block], self.sums[1][sub_block]) =
                (columns[0][lane], columns[1][lane]);
            self.scales[sub_block] = columns[2][lane];
        }
    }
}

/// One sub-block in each lane. Those that are taken for zero are zero.
#[derive(Clone, Copy)]
struct SubBlocks<S: Simd, const N: usize> {
    s: S,
    max: i32,
    x: [S::F32; N],
    /// Squares of `x`, which weigh the errors.
    weights: [S::F32; N],
    /// `x` by those.
    weighed: [S::F32; N],
    extreme: S::F32,
    nothing: S::Mask,
}

impl<S: Simd, const N: usize> SubBlocks<S, N> {
    /// No sub-block.
    #[inline(always)]
    fn new(s: S, max: i32) -> Self {
        let zero = s.splat(0.0);
        let [x, weights, weighed] = [[zero; N]; 3];
        Self { s, max, x, weights, weighed, extreme: zero, nothing: s.lt(zero, zero) }
    }

    /// Takes the chosen sub-blocks.
    #[inline(always)]
    fn fill(&mut self, x: &[[f32; N]], chosen: &[usize; MAX_LANES]) {
        let s = self.s;
        let mut rows = [&x[0]; MAX_LANES];
        for (row, &sub_block) in rows.iter_mut().zip(chosen) {
            *row = &x[sub_block];
        }
        s.load_columns_of(&rows, &mut self.x);
        let Extremes { extreme, nothing, .. } = extremes(s, &self.x);
        (self.extreme, self.nothing) = (extreme, nothing);
        if s.any(nothing) {
            for x in &mut self.x {
                *x = s.select(nothing, s.splat(0.0), *x);
            }
        }
        for i in 0..N {
            self.weights[i] = s.mul(self.x[i], self.x[i]);
            self.weighed[i] = s.mul(self.weights[i], self.x[i]);
        }
    }

    /// The levels that the largest value gives, and the sums over them.
    #[inline(always)]
    fn start(&self, levels: &mut [S::F32; N]) -> Sums<S> {
        let s = self.s;
        let (low, high) = (s.splat(-self.max as f32), s.splat((self.max - 1) as f32));
        let inverse = s.div(low, self.extreme);
        let mut sums = [s.splat(0.0); 2];
        for (i, level) in levels.iter_mut().enumerate() {
            // No magnitude is above the extreme's, so no quotient is far above `max`.
            *level = s.min(s.max(s.nearest(s.mul(inverse, self.x[i])), low), high);
            let [with_x, squares] = self.terms(i, *level);
            sums = [s.add(sums[0], with_x), s.add(sums[1], squares)];
        }
        if s.any(self.nothing) {
            // The lowest level stands for sub-blocks that are taken for zero: it never changes.
            for level in levels {
                *level = s.select(self.nothing, low, *level);
            }
        }
        sums
    }

    /// Moves level `i` where that lessens the error: the level, the sums, and the lanes where it
    /// did.
    #[inline(always)]
    fn step(&self, i: usize, level: S::F32, sums: Sums<S>) -> (S::F32, Sums<S>, S::Mask) {
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
        let usable = s.lt_where(s.differ_where(usable, new, level), zero, other_squares);
        // Whether it lessens the error.
        let better = s.lt_where(
            usable,
            s.mul(s.mul(sums[0], sums[0]), other_squares),
            s.mul(s.mul(other_x, other_x), sums[1]),
        );
        let sums = [s.select(better, other_x, sums[0]), s.select(better, other_squares, sums[1])];
        (s.select(better, new, level), sums, better)
    }

    /// What a level of weight `i` adds to the sums.
    #[inline(always)]
    fn terms(&self, i: usize, level: S::F32) -> Sums<S> {
        let s = self.s;
        [s.mul(self.weighed[i], level), s.mul(s.mul(self.weights[i], level), level)]
    }

    #[inline(always)]
    fn level(&self, quotient: S::F32) -> S::F32 {
        let s = self.s;
        let (low, high) = (s.splat_i32(-self.max), s.splat_i32(self.max - 1));
        s.to_f32(s.min_i32(s.max_i32(s.nearest_int(quotient), low), high))
    }
}
