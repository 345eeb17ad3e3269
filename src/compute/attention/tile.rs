//! Attention of the query heads that share a key head over a few keys, with a running softmax.

use std::ops::Range;

use super::{PANEL, TILE};
use crate::compute::exp::exp;
use crate::compute::lanes::{Lanes, Portable, WIDTH};

/// Query heads taken together. With two or three vectors each, their sums are enough to keep all
/// multipliers busy and leave registers for what is multiplied.
const ROWS: usize = 4;
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
    if crate::compute::lanes::has_avx2() {
        // SAFETY: the processor has the features that `attend_avx2` is compiled for.
        unsafe { attend_avx2(keys, seen, scale, heads) };
        return;
    }
    attend_with::<Portable>(keys, seen, scale, heads);
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn attend_avx2(keys: Keys<'_>, seen: Range<usize>, scale: f32, heads: Heads<'_>) {
    attend_with::<crate::compute::lanes::Avx2>(keys, seen, scale, heads);
}

#[inline(always)]
pub(super) fn attend_with<V: Lanes>(
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    heads: Heads<'_>,
) {
    match heads.queries.len() / heads.states.len() {
        // Compiled for the usual dimension: a tenth faster.
        64 => attend_heads::<V>(keys, seen, scale, heads, 64),
        dim => attend_heads::<V>(keys, seen, scale, heads, dim),
    }
}

#[inline(always)]
fn attend_heads<V: Lanes>(
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    heads: Heads<'_>,
    dim: usize,
) {
    let heads = some_heads::<V, ROWS>(keys, seen.clone(), scale, heads, dim);
    // Models with two query heads to a key head have only these.
    let heads = some_heads::<V, 2>(keys, seen.clone(), scale, heads, dim);
    some_heads::<V, 1>(keys, seen, scale, heads, dim);
}

/// Takes `R` heads at a time, and gives back those that are left.
#[inline(always)]
fn some_heads<'a, V: Lanes, const R: usize>(
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
        attend_rows::<V, R>(keys, seen.clone(), scale, queries, states, sums, dim);
    }
    Heads { queries: last_queries, states: last_states, sums: last_sums }
}

/// Scores of one query, by panel and key.
type Scores = [[f32; PANEL]; TILE / PANEL];

#[inline(always)]
fn attend_rows<V: Lanes, const R: usize>(
    keys: Keys<'_>,
    seen: Range<usize>,
    scale: f32,
    queries: &[f32],
    states: &mut [Softmax; R],
    sums: &mut [f32],
    dim: usize,
) {
    let queries: [&[f32]; R] = std::array::from_fn(|r| &queries[r * dim..(r + 1) * dim]);
    let mut scores: [Scores; R] = [[[0.0; PANEL]; TILE / PANEL]; R];
    let panels = seen.end.div_ceil(PANEL);
    let (panel_keys, _) = keys.keys[..panels * PANEL * dim].as_chunks::<PANEL>();
    let mut at = 0;
    while panels - at >= 3 {
        dots::<V, R, 3>(queries, panel_keys, at, scale, &mut scores, dim);
        at += 3;
    }
    match panels - at {
        2 => dots::<V, R, 2>(queries, panel_keys, at, scale, &mut scores, dim),
        1 => dots::<V, R, 1>(queries, panel_keys, at, scale, &mut scores, dim),
        _ => {}
    }
    for row in &mut scores {
        let row = row.as_flattened_mut();
        row[..seen.start].fill(f32::NEG_INFINITY);
        row[seen.end..panels * PANEL].fill(f32::NEG_INFINITY);
    }
    let rescale = weigh::<V, R>(&mut scores, panels, states);
    let weights = scores.each_ref().map(|s| &s.as_flattened()[seen.clone()]);
    let values = &keys.values[seen.start * dim..seen.end * dim];
    let mut at = 0;
    // Not three: the compiler runs out of registers and keeps a sum in memory, at half the speed.
    while dim - at >= 2 * WIDTH {
        add_weighted::<V, R, 2>(weights, values, at, rescale, sums, dim);
        at += 2 * WIDTH;
    }
    if at < dim {
        add_weighted::<V, R, 1>(weights, values, at, rescale, sums, dim);
    }
}

/// Scores of the keys of `C` panels from number `at` on.
#[inline(always)]
fn dots<V: Lanes, const R: usize, const C: usize>(
    queries: [&[f32]; R],
    panels: &[[f32; PANEL]],
    at: usize,
    scale: f32,
    scores: &mut [Scores; R],
    dim: usize,
) {
    let panels: [&[[f32; PANEL]]; C] =
        std::array::from_fn(|c| &panels[(at + c) * dim..(at + c + 1) * dim]);
    let queries = queries.map(|q| &q[..dim]);
    let mut acc = [[V::zero(); C]; R];
    for d in 0..dim {
        // Not by `map`: its closure may be left a function, compiled without the set's instructions.
        let mut keys = [V::zero(); C];
        for (key, panel) in keys.iter_mut().zip(&panels) {
            *key = V::load(&panel[d]);
        }
        for r in 0..R {
            let q = V::splat(queries[r][d]);
            for c in 0..C {
                acc[r][c] = acc[r][c].add_product(q, keys[c]);
            }
        }
    }
    let scale = V::splat(scale);
    for r in 0..R {
        for c in 0..C {
            acc[r][c].scale(scale).store(&mut scores[r][at + c]);
        }
    }
}

/// Makes weights of the scores of some panels; gives the factors that earlier weights have to be
/// multiplied by. The rows go side by side, as one row's operations wait for each other.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "panels of all rows, side by side")]
fn weigh<V: Lanes, const R: usize>(
    scores: &mut [Scores; R],
    panels: usize,
    states: &mut [Softmax; R],
) -> [V; R] {
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
    std::array::from_fn(|r| V::splat(rescale[r]))
}

/// `sums[r] = sums[r] * rescale[r] + Σ weights[r][k] * values[k]` in the order of `k`, for the
/// `C * 8` elements from `at` on.
#[inline(always)]
fn add_weighted<V: Lanes, const R: usize, const C: usize>(
    weights: [&[f32]; R],
    values: &[f32],
    at: usize,
    rescale: [V; R],
    sums: &mut [f32],
    dim: usize,
) {
    let mut acc = [[V::zero(); C]; R];
    for r in 0..R {
        let (old, _) = sums[r * dim + at..].as_chunks::<WIDTH>();
        for c in 0..C {
            acc[r][c] = V::load(&old[c]).scale(rescale[r]);
        }
    }
    let keys = values.len() / dim;
    let weights = weights.map(|w| &w[..keys]);
    for (k, row) in values.chunks_exact(dim).enumerate() {
        let (row, _) = row[at..].as_chunks::<WIDTH>();
        let row: [V; C] = std::array::from_fn(|c| V::load(&row[c]));
        for r in 0..R {
            let w = V::splat(weights[r][k]);
            for c in 0..C {
                acc[r][c] = acc[r][c].add_product(w, row[c]);
            }
        }
    }
    for r in 0..R {
        let (new, _) = sums[r * dim + at..].as_chunks_mut::<WIDTH>();
        for c in 0..C {
            acc[r][c].store(&mut new[c]);
        }
    }
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
    exp(Portable::splat(x)).store(&mut y);
    y[0]
}
