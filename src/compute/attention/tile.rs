//! Attention of the query heads that share a key head over a few keys, with a running softmax.

use std::ops::Range;

use super::{PANEL, TILE};
use crate::compute::exp::exp;
use crate::compute::lanes::{Lanes, Portable, WIDTH, Wide};

/// Query heads taken together at most. With four of them and two or three vectors each, their sums
/// are enough to keep all multipliers busy, and leave registers for what is multiplied if there are
/// sixteen; with AVX-512 there are twice as many.
const ROWS: usize = 8;
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

/// Lets the queries attend to keys number `seen` of `keys`; `seen` begins in the first panel and
/// ends at [`TILE`] or before.
///
/// The order of sums depends on where keys are in their panel and on where `seen` begins and ends:
/// cut calls at fixed positions to have the same numbers every time.
pub fn attend(keys: Keys<'_>, seen: Range<usize>, scale: f32, heads: Heads<'_>) {
    #[cfg(target_arch = "x86_64")]
    {
        if crate::compute::lanes::has_avx512() {
            // SAFETY: the processor has the features that `attend_avx512` is compiled for.
            return unsafe { attend_avx512(keys, seen, scale, heads) };
        }
        if crate::compute::lanes::has_avx2() {
            // SAFETY: as above.
            return unsafe { attend_avx2(keys, seen, scale, heads) };
        }
    }
    attend_with::<Portable>(keys, seen, scale, heads);
}

/// # Safety
/// The processor must have AVX-512 F and DQ, AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub(super) unsafe fn attend_avx512(
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    heads: Heads<'_>,
) {
    attend_with::<crate::compute::lanes::Avx512>(keys, seen, scale, heads);
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn attend_avx2(keys: Keys<'_>, seen: Range<usize>, scale: f32, heads: Heads<'_>) {
    attend_with::<crate::compute::lanes::Avx2>(keys, seen, scale, heads);
}

#[inline(always)]
pub(super) fn attend_with<W: Wide>(
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    heads: Heads<'_>,
) {
    match heads.queries.len() / heads.states.len() {
        // Compiled for the usual dimension: a tenth faster.
        64 => attend_heads::<W>(keys, seen, scale, heads, 64),
        dim => attend_heads::<W>(keys, seen, scale, heads, dim),
    }
}

#[inline(always)]
fn attend_heads<W: Wide>(
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    heads: Heads<'_>,
    dim: usize,
) {
    let heads = match W::VECTORS {
        1 => heads,
        _ => some_heads::<W, ROWS>(keys, seen.clone(), scale, heads, dim),
    };
    let heads = some_heads::<W, 4>(keys, seen.clone(), scale, heads, dim);
    // Models with two query heads to a key head have only these.
    let heads = some_heads::<W, 2>(keys, seen.clone(), scale, heads, dim);
    some_heads::<W, 1>(keys, seen, scale, heads, dim);
}

/// Takes `R` heads at a time, and gives back those that are left.
#[inline(always)]
fn some_heads<'a, W: Wide, const R: usize>(
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
        attend_rows::<W, R>(keys, seen.clone(), scale, queries, states, sums, dim);
    }
    Heads { queries: last_queries, states: last_states, sums: last_sums }
}

/// Scores of one query, by panel and key.
type Scores = [[f32; PANEL]; TILE / PANEL];

#[inline(always)]
fn attend_rows<W: Wide, const R: usize>(
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
    all_dots::<W, R>(queries, panel_keys, panels, scale, &mut scores, dim);
    for row in &mut scores {
        let row = row.as_flattened_mut();
        row[..seen.start].fill(f32::NEG_INFINITY);
        row[seen.end..panels * PANEL].fill(f32::NEG_INFINITY);
    }
    let rescale = weigh::<W::Lanes, R>(&mut scores, panels, states);
    let weights = Weights { scores: &scores, first: seen.start };
    let values = &keys.values[seen.start * dim..seen.end * dim];
    let mut at = 0;
    while let left @ 1.. = (dim - at) / WIDTH {
        at += WIDTH * add_most::<W, R>(weights, values, at, left, rescale, sums, dim);
    }
}

/// Scores of the keys of all panels. As many at a time as there are registers for sums: with AVX-512
/// up to eight vectors of them, of sixteen keys each; else twelve, of eight.
#[inline(always)]
fn all_dots<W: Wide, const R: usize>(
    queries: &[f32],
    panels: &[[f32; PANEL]],
    count: usize,
    scale: f32,
    scores: &mut [Scores; R],
    dim: usize,
) {
    let mut at = 0;
    while at < count {
        at += match (W::VECTORS, count - at) {
            (1, 3..) => dots::<W, R, 3>(queries, panels, at, scale, scores, dim),
            (1, 2) => dots::<W, R, 2>(queries, panels, at, scale, scores, dim),
            (2, 8..) if R <= 2 => dots::<W, R, 4>(queries, panels, at, scale, scores, dim),
            (2, 4..) => dots::<W, R, 2>(queries, panels, at, scale, scores, dim),
            (2, 2..) => dots::<W, R, 1>(queries, panels, at, scale, scores, dim),
            _ => dots::<W::Lanes, R, 1>(queries, panels, at, scale, scores, dim),
        };
    }
}

/// Scores of the keys of `C` vectors of panels from number `at` on; says how many panels those are.
#[inline(always)]
fn dots<W: Wide, const R: usize, const C: usize>(
    queries: &[f32],
    panels: &[[f32; PANEL]],
    at: usize,
    scale: f32,
    scores: &mut [Scores; R],
    dim: usize,
) -> usize {
    let mut of_vectors: [[&[[f32; PANEL]]; 2]; C] = [[&[]; 2]; C];
    for (c, vector) in of_vectors.iter_mut().enumerate() {
        let first = at + c * W::VECTORS;
        for (panel, number) in vector.iter_mut().zip([first, first + W::VECTORS - 1]) {
            *panel = &panels[number * dim..(number + 1) * dim];
        }
    }
    let queries = &queries[..R * dim];
    let mut acc = [[W::zero(); C]; R];
    for d in 0..dim {
        // Not by `map`: its closure may be left a function, compiled without the set's instructions.
        let mut keys = [W::zero(); C];
        for (key, [first, second]) in keys.iter_mut().zip(&of_vectors) {
            *key = W::load([&first[d], &second[d]]);
        }
        for r in 0..R {
            let q = W::splat(queries[r * dim + d]);
            for c in 0..C {
                acc[r][c] = acc[r][c].add_product(q, keys[c]);
            }
        }
    }
    let scale = W::splat(scale);
    for r in 0..R {
        for c in 0..C {
            acc[r][c].scale(scale).store(&mut scores[r][at + c * W::VECTORS..]);
        }
    }
    C * W::VECTORS
}

/// Makes weights of the scores of some panels; gives the factors that earlier weights have to be
/// multiplied by. The rows go side by side, as one row's operations wait for each other.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "panels of all rows, side by side")]
fn weigh<V: Lanes, const R: usize>(
    scores: &mut [Scores; R],
    panels: usize,
    states: &mut [Softmax; R],
) -> [f32; R] {
    let mut max = [V::splat(f32::NEG_INFINITY); R];
    for p in 0..panels {
        for r in 0..R {
            max[r] = max[r].max(V::load(&scores[r][p]));
        }
    }
    let mut lanes = [0.0; WIDTH];
    let mut minus_max = [V::zero(); R];
    let mut down = [0.0; WIDTH];
    for r in 0..R {
        max[r].store(&mut lanes);
        let max = lanes.into_iter().fold(states[r].max, f32::max);
        minus_max[r] = V::splat(-max);
        down[r] = states[r].max - max;
        states[r].max = max;
    }
    let mut rescale = [0.0; WIDTH];
    exp(V::load(&down)).store(&mut rescale);
    let mut sums = [V::zero(); R];
    for p in 0..panels {
        for r in 0..R {
            let weight = exp(V::load(&scores[r][p]).add(minus_max[r]));
            weight.store(&mut scores[r][p]);
            sums[r] = sums[r].add(weight);
        }
    }
    for r in 0..R {
        states[r].sum = states[r].sum * rescale[r] + sums[r].sum();
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

/// [`add_weighted`] for as many vectors of the `left` ones from `at` on as there are registers for;
/// says how many.
#[inline(always)]
fn add_most<W: Wide, const R: usize>(
    weights: Weights<'_, R>,
    values: &[f32],
    at: usize,
    left: usize,
    rescale: [f32; R],
    sums: &mut [f32],
    dim: usize,
) -> usize {
    match (W::VECTORS, left) {
        // Not three: the compiler runs out of registers and keeps a sum in memory, at half the speed.
        (1, 2..) => add_weighted::<W, R, 2>(weights, values, at, rescale, sums, dim),
        (2, 8..) if R <= 2 => add_weighted::<W, R, 4>(weights, values, at, rescale, sums, dim),
        (2, 4..) => add_weighted::<W, R, 2>(weights, values, at, rescale, sums, dim),
        (2, 2..) => add_weighted::<W, R, 1>(weights, values, at, rescale, sums, dim),
        _ => add_weighted::<W::Lanes, R, 1>(weights, values, at, rescale, sums, dim),
    }
}

/// `sums[r] = sums[r] * rescale[r] + Σ weights[r][k] * values[k]` in the order of `k`, for the
/// elements of `C` vectors from `at` on; says how many vectors of eight those are.
#[inline(always)]
fn add_weighted<W: Wide, const R: usize, const C: usize>(
    weights: Weights<'_, R>,
    values: &[f32],
    at: usize,
    rescale: [f32; R],
    sums: &mut [f32],
    dim: usize,
) -> usize {
    let both = |c: usize| [c * W::VECTORS, (c + 1) * W::VECTORS - 1];
    let mut acc = [[W::zero(); C]; R];
    for r in 0..R {
        let (old, _) = sums[r * dim + at..].as_chunks::<WIDTH>();
        for (c, acc) in acc[r].iter_mut().enumerate() {
            let [first, second] = both(c);
            *acc = W::load([&old[first], &old[second]]).scale(W::splat(rescale[r]));
        }
    }
    for (row, k) in values.chunks_exact(dim).zip(weights.first..TILE) {
        let (row, _) = row[at..].as_chunks::<WIDTH>();
        let mut vectors = [W::zero(); C];
        for (c, vector) in vectors.iter_mut().enumerate() {
            let [first, second] = both(c);
            *vector = W::load([&row[first], &row[second]]);
        }
        for (scores, acc) in weights.scores.iter().zip(&mut acc) {
            let w = W::splat(scores.as_flattened()[k]);
            for (acc, vector) in acc.iter_mut().zip(vectors) {
                *acc = acc.add_product(w, vector);
            }
        }
    }
    for r in 0..R {
        let (new, _) = sums[r * dim + at..].as_chunks_mut::<WIDTH>();
        for c in 0..C {
            acc[r][c].store(&mut new[c * W::VECTORS..]);
        }
    }
    C * W::VECTORS
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
    let mut y = [0.0; WIDTH];
    Lanes::store(exp(<Portable as Lanes>::splat(x)), &mut y);
    y[0]
}
