//! Splits of sub-blocks into three levels; the scalar search is `search/ternary.rs`.

use crate::ggml::search::ternary::{self, Split, SplitBatch};
use crate::ggml::search::way::Batch;
use crate::simd::{MAX_LANES, Simd};

impl Batch for SplitBatch<'_, 32, bool> {
    fn one_by_one(self) {
        self.each(ternary::split);
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let SplitBatch { x, weights, orders, splits } = self;
        let chunks = x.chunks(S::LANES).zip(weights.chunks(S::LANES)).zip(orders.chunks(S::LANES));
        for (((x, weights), orders), splits) in chunks.zip(splits.chunks_mut(S::LANES)) {
            let [sum_x] = sums::<S, 32, 33, 1>(s, x, weights, orders, |w, x| w * x);
            let [sum_w] = sums::<S, 32, 33, 1>(s, x, weights, orders, |w, _| w);
            let shifts = [ternary::levels(true), ternary::levels(false)];
            // What the weights from `high` on add, by `high` and shift.
            let mut behind = [[[s.splat(0.0); 2]; 2]; 33];
            for (high, behind) in behind.iter_mut().enumerate() {
                let (x, w) = (s.sub(sum_x[32], sum_x[high]), s.sub(sum_w[32], sum_w[high]));
                *behind = [part(s, x, w, shifts[0][2]), part(s, x, w, shifts[1][2])];
            }
            let mut best = Best::new(s);
            for middle in 0..=32 {
                let (x, w) = (s.sub(sum_x[middle], sum_x[0]), s.sub(sum_w[middle], sum_w[0]));
                let before = [part(s, x, w, shifts[0][0]), part(s, x, w, shifts[1][0])];
                for high in middle..=32 {
                    let x = s.sub(sum_x[high], sum_x[middle]);
                    let w = s.sub(sum_w[high], sum_w[middle]);
                    for number in 0..2 {
                        let between = part(s, x, w, shifts[number][1]);
                        let (before, behind) = (before[number], behind[high][number]);
                        let with_x = s.add(s.add(before[0], between[0]), behind[0]);
                        let squares = s.add(s.add(before[1], between[1]), behind[1]);
                        best.offer(with_x, squares, [middle, high, number]);
                    }
                }
            }
            best.store(splits, |number| number == 0);
        }
    }
}

/// What a part of the weights that gets level `q` adds to both sums.
#[inline(always)]
fn part<S: Simd>(s: S, x: S::F32, w: S::F32, q: f32) -> [S::F32; 2] {
    let q = s.splat(q);
    [s.mul(x, q), s.mul(s.mul(w, q), q)]
}

impl Batch for SplitBatch<'_, 16, [bool; 2]> {
    fn one_by_one(self) {
        self.each(ternary::split_halves);
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let SplitBatch { x, weights, orders, splits } = self;
        let chunks = x.chunks(S::LANES).zip(weights.chunks(S::LANES)).zip(orders.chunks(S::LANES));
        for (((x, weights), orders), splits) in chunks.zip(splits.chunks_mut(S::LANES)) {
            let sum_x = sums::<S, 16, 17, 2>(s, x, weights, orders, |w, x| w * x);
            let sum_w = sums::<S, 16, 17, 2>(s, x, weights, orders, |w, _| w);
            let shifts = [ternary::levels(true), ternary::levels(false)];
            let zero = s.splat(0.0);
            // What depends on one of the places at most, by half and shift.
            let mut whole = [[[zero; 2]; 2]; 2];
            let mut at_high = [[[zero; 2]; 2]; 17];
            for half in 0..2 {
                for (shift, q) in shifts.iter().enumerate() {
                    whole[half][shift] = part(s, sum_x[half][16], sum_w[half][16], q[2]);
                    let factor = s.splat(q[1] * q[1] - q[2] * q[2]);
                    for high in 0..17 {
                        at_high[high][half][shift] = s.mul(sum_w[half][high], factor);
                    }
                }
            }
            let mut best = Best::new(s);
            for middle in 0..=16 {
                let mut squares = [[zero; 2]; 2];
                for half in 0..2 {
                    for (shift, q) in shifts.iter().enumerate() {
                        let factor = s.splat(q[0] * q[0] - q[1] * q[1]);
                        let at_middle = s.mul(sum_w[half][middle], factor);
                        squares[half][shift] = s.add(whole[half][shift][1], at_middle);
                    }
                }
                for high in middle..=16 {
                    let mut sums = [[[zero; 2]; 2]; 2];
                    for half in 0..2 {
                        let x = s.add(sum_x[half][middle], sum_x[half][high]);
                        for shift in 0..2 {
                            let squares = s.add(squares[half][shift], at_high[high][half][shift]);
                            sums[half][shift] = [s.sub(whole[half][shift][0], x), squares];
                        }
                    }
                    for number in 0..4 {
                        let [first, second] = [sums[0][number / 2], sums[1][number % 2]];
                        let (with_x, squares) =
                            (s.add(first[0], second[0]), s.add(first[1], second[1]));
                        best.offer(with_x, squares, [middle, high, number]);
                    }
                }
            }
            best.store(splits, |number| [number / 2 == 0, number % 2 == 0]);
        }
    }
}

/// Sums of `value` of the weights up to each place in the order, those of each of `PARTS` equal
/// parts of the sub-block on their own.
#[inline(always)]
fn sums<S: Simd, const N: usize, const PLACES: usize, const PARTS: usize>(
    s: S,
    x: &[[f32; N]],
    weights: &[[f32; N]],
    orders: &[[u8; N]],
    value: fn(f32, f32) -> f32,
) -> [[S::F32; PLACES]; PARTS] {
    let mut sums = [[[0.0f32; MAX_LANES]; PLACES]; PARTS];
    for (lane, ((x, weights), order)) in x.iter().zip(weights).zip(orders).enumerate() {
        let mut now = [0.0f32; PARTS];
        for (place, &i) in order.iter().enumerate() {
            let i = usize::from(i);
            let part = i * PARTS / N;
            now[part] += value(weights[i], x[i]);
            for (sums, now) in sums.iter_mut().zip(now) {
                sums[place + 1][lane] = now;
            }
        }
    }
    let mut vectors = [[s.splat(0.0); PLACES]; PARTS];
    for part in 0..PARTS {
        for place in 0..PLACES {
            vectors[part][place] = s.load(&sums[part][place]);
        }
    }
    vectors
}

/// The best split of each lane's sub-block so far.
struct Best<S: Simd> {
    s: S,
    score: S::F32,
    scale: S::F32,
    /// Lanes that have one, as bits.
    found: u32,
    /// Where levels change, and the number of the shift.
    split: [S::F32; 3],
}

impl<S: Simd> Best<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        let zero = s.splat(0.0);
        Self { s, score: s.splat(-f32::MAX), scale: zero, found: 0, split: [zero; 3] }
    }

    #[inline(always)]
    fn offer(&mut self, with_x: S::F32, squares: S::F32, split: [usize; 3]) {
        let s = self.s;
        let better = s.and(
            s.lt(s.splat(0.0), squares),
            s.lt(s.mul(self.score, squares), s.mul(with_x, with_x)),
        );
        let bits = s.bits(better);
        if bits == 0 {
            return;
        }
        self.found |= bits;
        self.scale = s.select(better, s.div(with_x, squares), self.scale);
        self.score = s.select(better, s.mul(self.scale, with_x), self.score);
        for (best, new) in self.split.iter_mut().zip(split) {
            *best = s.select(better, s.splat(new as f32), *best);
        }
    }

    #[inline(always)]
    fn store<Shift>(self, splits: &mut [Option<Split<Shift>>], shift: impl Fn(usize) -> Shift) {
        let mut scales = [0.0f32; MAX_LANES];
        self.s.store(self.scale, &mut scales);
        let mut places = [[0.0f32; MAX_LANES]; 3];
        for (places, best) in places.iter_mut().zip(self.split) {
            self.s.store(best, places);
        }
        let [middles, highs, shifts] = places;
        for (lane, split) in splits.iter_mut().enumerate() {
            *split = (self.found >> lane & 1 == 1).then(|| Split {
                middle: middles[lane] as usize,
                high: highs[lane] as usize,
                scale: scales[lane],
                shift: shift(shifts[lane] as usize),
            });
        }
    }
}
