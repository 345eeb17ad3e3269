//! Attention of the query heads that share a key head over a few keys, with a running softmax.

use std::ops::Range;

use super::{PANEL, TILE};
use crate::compute::exp::exp;
use crate::simd::{Fused, Kernel, Portable};

/// Query heads taken together at most. With four of them and two or three vectors each, their sums
/// are enough to keep all multipliers busy, and leave registers for what is multiplied if there are
/// sixteen; with AVX-512 there are twice as many.
const ROWS: usize = 8;
/// Lanes of [`Fused::Eight`].
const WIDTH: usize = 8;
const _: () = assert!(PANEL == WIDTH && ROWS <= WIDTH);

/// The softmax of one query over some of its keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// The largest score.
    max: f32,
    /// Sum of `exp(score - max)`.
    sum: f32,
}

impl Softmax {
    /// No key.
    pub const EMPTY: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// An attention sink: a score without a value.
    pub fn sink(score: f32) -> Self {
        Self { max: score, sum: 1.0 }
    }
}

/// Keys, and the values that belong to them.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// Panels of [`PANEL`] keys, element by element: first the first element of each of them.
    pub keys: &'a [f32],
    /// A row per key.
    pub values: &'a [f32],
}

/// What a kernel works on: for each query head its query, softmax and weighted sum of values.
pub struct Heads<'a> {
    pub queries: &'a [f32],
    pub states: &'a mut [Softmax],
    pub sums: &'a mut [f32],
}

/// Lets the queries attend to some keys.
///
/// The order of sums depends on where keys are in their panel and on where `seen` begins and ends:
/// cut calls at fixed positions to have the same numbers every time.
pub struct Attend<'a> {
    pub keys: Keys<'a>,
    /// Numbers of keys: they begin in the first panel, and end at [`TILE`] or before.
    pub seen: Range<usize>,
    pub scale: f32,
    pub heads: Heads<'a>,
}

impl<S: Fused> Kernel<S> for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, set: S) {
        let Self { keys, seen, scale, heads } = self;
        match heads.queries.len() / heads.states.len() {
            // Compiled for the usual dimension: a tenth faster.
            64 => attend_heads(set, keys, seen, scale, heads, 64),
            dim => attend_heads(set, keys, seen, scale, heads, dim),
        }
    }
}

#[inline(always)]
fn attend_heads<S: Fused>(
    set: S,
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    heads: Heads<'_>,
    dim: usize,
) {
    let heads = match S::EIGHTS {
        1 => heads,
        _ => some_heads::<_, ROWS>(set, keys, seen.clone(), scale, heads, dim),
    };
    let heads = some_heads::<_, 4>(set, keys, seen.clone(), scale, heads, dim);
    // Models with two query heads to a key head have only these.
    let heads = some_heads::<_, 2>(set, keys, seen.clone(), scale, heads, dim);
    some_heads::<_, 1>(set, keys, seen, scale, heads, dim);
}

/// Takes `R` heads at a time, and gives back those that are left.
#[inline(always)]
fn some_heads<'a, S: Fused, const R: usize>(
    set: S,
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    heads: Heads<'a>,
    dim: usize,
) -> Heads<'a> {
    let (states, last_states) = heads.states.as_chunks_mut::<R>();
    let (queries, last_queries) = heads.queries.split_at(states.len() * R * dim);
    let (sums, last_sums) = heads.sums.split_at_mut(queries.len());
    let rows = queries.chunks_exact(R * dim).zip(sums.chunks_exact_mut(R * dim));
    for (states, (queries, sums)) in states.iter_mut().zip(rows) {
        attend_rows::<_, R>(set, keys, seen.clone(), scale, queries, states, sums, dim);
    }
    Heads { queries: last_queries, states: last_states, sums: last_sums }
}

/// Scores of one query, by panel and key.
type Scores = [[f32; PANEL]; TILE / PANEL];

#[allow(clippy::too_many_arguments, reason = "in and out, each by what it is")]
#[inline(always)]
fn attend_rows<S: Fused, const R: usize>(
    set: S,
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    queries: &[f32],
    states: &mut [Softmax; R],
    sums: &mut [f32],
    dim: usize,
) {
    let mut scores: [Scores; R] = [[[0.0; PANEL]; TILE / PANEL]; R];
    let panels = seen.end.div_ceil(PANEL);
    let (panel_keys, _) = keys.keys[..panels * PANEL * dim].as_chunks::<PANEL>();
    all_dots::<_, R>(set, queries, panel_keys, panels, scale, &mut scores, dim);
    for row in &mut scores {
        let row = row.as_flattened_mut();
        row[..seen.start].fill(f32::NEG_INFINITY);
        row[seen.end..panels * PANEL].fill(f32::NEG_INFINITY);
    }
    let rescale = weigh(set.eight(), &mut scores, panels, states);
    let weights = Weights { scores: &scores, first: seen.start };
    let values = &keys.values[seen.start * dim..seen.end * dim];
    let mut at = 0;
    while (dim - at) / WIDTH > 0 {
        at += WIDTH * add_most::<_, R>(set, weights, values, at, rescale, sums, dim);
    }
}

/// Scores of the keys of all panels. As many at a time as there are registers for sums: with AVX-512
/// up to eight vectors of them, of sixteen keys each; else twelve, of eight.
#[inline(always)]
fn all_dots<S: Fused, const R: usize>(
    set: S,
    queries: &[f32],
    panels: &[[f32; PANEL]],
    count: usize,
    scale: f32,
    scores: &mut [Scores; R],
    dim: usize,
) {
    let mut at = 0;
    while at < count {
        at += match (S::EIGHTS, count - at) {
            (1, 3..) => dots::<_, R, 3>(set, queries, panels, at, scale, scores, dim),
            (1, 2) => dots::<_, R, 2>(set, queries, panels, at, scale, scores, dim),
            (2, 8..) if R <= 2 => dots::<_, R, 4>(set, queries, panels, at, scale, scores, dim),
            (2, 4..) => dots::<_, R, 2>(set, queries, panels, at, scale, scores, dim),
            (2, 2..) => dots::<_, R, 1>(set, queries, panels, at, scale, scores, dim),
            _ => dots::<_, R, 1>(set.eight(), queries, panels, at, scale, scores, dim),
        };
    }
}

/// Scores of the keys of `C` vectors of panels from number `at` on; says how many panels those are.
#[inline(always)]
fn dots<S: Fused, const R: usize, const C: usize>(
    set: S,
    queries: &[f32],
    panels: &[[f32; PANEL]],
    at: usize,
    scale: f32,
    scores: &mut [Scores; R],
    dim: usize,
) -> usize {
    let mut of_vectors: [[&[[f32; PANEL]]; 2]; C] = [[&[]; 2]; C];
    for (c, vector) in of_vectors.iter_mut().enumerate() {
        let first = at + c * S::EIGHTS;
        for (panel, number) in vector.iter_mut().zip([first, first + S::EIGHTS - 1]) {
            *panel = &panels[number * dim..(number + 1) * dim];
        }
    }
    let queries = &queries[..R * dim];
    let mut acc = [[set.splat(0.0); C]; R];
    for d in 0..dim {
        // Not by `map`: its closure may be left a function, compiled without the set's instructions.
        let mut keys = [set.splat(0.0); C];
        for (key, [first, second]) in keys.iter_mut().zip(&of_vectors) {
            *key = set.load_eights([&first[d], &second[d]]);
        }
        for r in 0..R {
            let q = set.splat(queries[r * dim + d]);
            for c in 0..C {
                acc[r][c] = set.fused(q, keys[c], acc[r][c]);
            }
        }
    }
    let scale = set.splat(scale);
    for r in 0..R {
        for c in 0..C {
            let to = scores[r][at + c * S::EIGHTS..].as_flattened_mut();
            set.store(set.mul(acc[r][c], scale), to);
        }
    }
    C * S::EIGHTS
}

/// Makes weights of the scores of some panels; gives the factors that earlier weights have to be
/// multiplied by. The rows go side by side, as one row's operations wait for each other.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "panels of all rows, side by side")]
fn weigh<S: Fused, const R: usize>(
    s: S,
    scores: &mut [Scores; R],
    panels: usize,
    states: &mut [Softmax; R],
) -> [f32; R] {
    let mut max = [s.splat(f32::NEG_INFINITY); R];
    for p in 0..panels {
        for r in 0..R {
            max[r] = s.max(max[r], s.load(&scores[r][p]));
        }
    }
    let mut lanes = [0.0; WIDTH];
    let mut minus_max = [s.splat(0.0); R];
    let mut down = [0.0; WIDTH];
    for r in 0..R {
        s.store(max[r], &mut lanes);
        let max = lanes.into_iter().fold(states[r].max, f32::max);
        minus_max[r] = s.splat(-max);
        down[r] = states[r].max - max;
        states[r].max = max;
    }
    let mut rescale = [0.0; WIDTH];
    s.store(exp(s, s.load(&down)), &mut rescale);
    let mut sums = [s.splat(0.0); R];
    for p in 0..panels {
        for r in 0..R {
            let weight = exp(s, s.add(s.load(&scores[r][p]), minus_max[r]));
            s.store(weight, &mut scores[r][p]);
            sums[r] = s.add(sums[r], weight);
        }
    }
    for r in 0..R {
        states[r].sum = states[r].sum * rescale[r] + s.sum(sums[r]);
    }
    *rescale.first_chunk().expect("at most as many rows as lanes")
}

/// Weights of keys by query, side by side: eight slices of their own were more than there are registers
/// for addresses.
#[derive(Clone, Copy)]
struct Weights<'a, const R: usize> {
    scores: &'a [Scores; R],
    /// The first key that is seen.
    first: usize,
}

/// [`add_weighted`] for as many vectors of those from `at` on as there are registers for;
/// says how many.
#[inline(always)]
fn add_most<S: Fused, const R: usize>(
    set: S,
    weights: Weights<'_, R>,
    values: &[f32],
    at: usize,
    rescale: [f32; R],
    sums: &mut [f32],
    dim: usize,
) -> usize {
    match (S::EIGHTS, (dim - at) / WIDTH) {
        // Not three: the compiler runs out of registers and keeps a sum in memory, at half the speed.
        (1, 2..) => add_weighted::<_, R, 2>(set, weights, values, at, rescale, sums, dim),
        (2, 8..) if R <= 2 => add_weighted::<_, R, 4>(set, weights, values, at, rescale, sums, dim),
        (2, 4..) => add_weighted::<_, R, 2>(set, weights, values, at, rescale, sums, dim),
        (2, 2..) => add_weighted::<_, R, 1>(set, weights, values, at, rescale, sums, dim),
        _ => add_weighted::<_, R, 1>(set.eight(), weights, values, at, rescale, sums, dim),
    }
}

/// `sums[r] = sums[r] * rescale[r] + Σ weights[r][k] * values[k]` in the order of `k`, for the
/// elements of `C` vectors from `at` on; says how many vectors of eight those are.
#[inline(always)]
fn add_weighted<S: Fused, const R: usize, const C: usize>(
    set: S,
    weights: Weights<'_, R>,
    values: &[f32],
    at: usize,
    rescale: [f32; R],
    sums: &mut [f32],
    dim: usize,
) -> usize {
    let both = |c: usize| [c * S::EIGHTS, (c + 1) * S::EIGHTS - 1];
    let mut acc = [[set.splat(0.0); C]; R];
    for r in 0..R {
        let (old, _) = sums[r * dim + at..].as_chunks::<WIDTH>();
        for (c, acc) in acc[r].iter_mut().enumerate() {
            let [first, second] = both(c);
            let old = set.load_eights([&old[first], &old[second]]);
            *acc = set.mul(old, set.splat(rescale[r]));
        }
    }
    for (row, k) in values.chunks_exact(dim).zip(weights.first..TILE) {
        let (row, _) = row[at..].as_chunks::<WIDTH>();
        let mut vectors = [set.splat(0.0); C];
        for (c, vector) in vectors.iter_mut().enumerate() {
            let [first, second] = both(c);
            *vector = set.load_eights([&row[first], &row[second]]);
        }
        for (scores, acc) in weights.scores.iter().zip(&mut acc) {
            let w = set.splat(scores.as_flattened()[k]);
            for (acc, vector) in acc.iter_mut().zip(vectors) {
                *acc = set.fused(w, vector, *acc);
            }
        }
    }
    for r in 0..R {
        let new = &mut sums[r * dim + at..];
        for c in 0..C {
            set.store(acc[r][c], &mut new[c * S::LANES..]);
        }
    }
    C * S::EIGHTS
}

/// Adds the softmaxes over other keys, and their weighted sums, to those of the same heads so far.
pub fn merge(states: &mut [Softmax], sums: &mut [f32], others: &[Softmax], other_sums: &[f32]) {
    let dim = sums.len() / states.len();
    let sums = sums.chunks_exact_mut(dim).zip(other_sums.chunks_exact(dim));
    for ((state, other), (sums, other_sums)) in states.iter_mut().zip(others).zip(sums) {
        let max = state.max.max(other.max);
        let (a, b) = (exp_one(state.max - max), exp_one(other.max - max));
        *state = Softmax { max, sum: state.sum * a + other.sum * b };
        for (s, o) in sums.iter_mut().zip(other_sums) {
            *s = *s * a + *o * b;
        }
    }
}

/// Divides the weighted sums of values by the sums of weights.
pub fn finish(states: &[Softmax], sums: &mut [f32]) {
    let dim = sums.len() / states.len();
    for (state, sums) in states.iter().zip(sums.chunks_exact_mut(dim)) {
        for s in sums {
            *s /= state.sum;
        }
    }
}

/// [`exp`] of one number.
fn exp_one(x: f32) -> f32 {
    exp(Portable, [x; WIDTH])[0]
}
