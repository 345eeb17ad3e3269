//! Attention of one query over keys and values that come tile by tile, with a running softmax.

use super::lanes::{Lanes, Portable, WIDTH, dot_tile};

/// The softmax of one query as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadState {
    /// Largest score so far.
    max: f32,
    /// Sum of `exp(score - max)` so far.
    sum: f32,
}

impl HeadState {
    /// A softmax in which an attention sink, a score without a value, already takes part.
    pub fn with_sink(sink: f32) -> Self {
        Self { max: sink, sum: 1.0 }
    }

    /// Divides the weighted sum of values by the sum of weights.
    pub fn finish(self, out: &mut [f32]) {
        for o in out {
            *o /= self.sum;
        }
    }
}

/// Lets `query` attend to the next keys.
///
/// `keys` and `values` hold one row of `query.len()` elements per key, a multiple of eight; `out`,
/// of that length too, carries the weighted sum of values from call to call and starts at zero.
/// `scores` is scratch with room for one number per key. The order of sums depends on how the keys
/// are cut into calls: cut them at fixed positions to have the same numbers every time.
pub fn attend(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    scale: f32,
    state: &mut HeadState,
    out: &mut [f32],
    scores: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if super::lanes::has_avx2() {
        // SAFETY: the processor has the features that `attend_avx2` is compiled for.
        unsafe { attend_avx2(query, keys, values, scale, state, out, scores) };
        return;
    }
    attend_with::<Portable>(query, keys, values, scale, state, out, scores);
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn attend_avx2(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    scale: f32,
    state: &mut HeadState,
    out: &mut [f32],
    scores: &mut [f32],
) {
    attend_with::<super::lanes::Avx2>(query, keys, values, scale, state, out, scores);
}

#[inline(always)]
fn attend_with<V: Lanes>(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    scale: f32,
    state: &mut HeadState,
    out: &mut [f32],
    scores: &mut [f32],
) {
    let dim = query.len();
    let scores = &mut scores[..keys.len() / dim];
    let mut groups = keys.chunks_exact(4 * dim);
    let mut scored = scores.chunks_exact_mut(4);
    for (group, s) in groups.by_ref().zip(scored.by_ref()) {
        let rows =
            [&group[..dim], &group[dim..2 * dim], &group[2 * dim..3 * dim], &group[3 * dim..]];
        for (s, [dot]) in s.iter_mut().zip(dot_tile::<V, 4, 1>(rows, [query])) {
            *s = dot * scale;
        }
    }
    for (key, s) in groups.remainder().chunks_exact(dim).zip(scored.into_remainder()) {
        let [[dot]] = dot_tile::<V, 1, 1>([key], [query]);
        *s = dot * scale;
    }

    let max = scores.iter().copied().fold(state.max, f32::max);
    let rescale = (state.max - max).exp();
    state.max = max;
    state.sum *= rescale;
    for s in scores.iter_mut() {
        *s = (*s - max).exp();
        state.sum += *s;
    }
    add_weighted::<V>(scores, values, rescale, out);
}

/// `out = out * rescale + Σ weights[j] * values[j]`, in the order of `j`.
#[inline(always)]
fn add_weighted<V: Lanes>(weights: &[f32], values: &[f32], rescale: f32, out: &mut [f32]) {
    const GROUP: usize = 4;
    let dim = out.len();
    let rescale = V::splat(rescale);
    for (g, group) in out.chunks_mut(GROUP * WIDTH).enumerate() {
        let (group, _) = group.as_chunks_mut::<WIDTH>();
        let mut sums = [V::zero(); GROUP];
        for (sum, o) in sums.iter_mut().zip(group.iter()) {
            *sum = V::load(o).scale(rescale);
        }
        for (&w, row) in weights.iter().zip(values.chunks_exact(dim)) {
            let w = V::splat(w);
            let (row, _) = row[g * GROUP * WIDTH..].as_chunks::<WIDTH>();
            for (sum, v) in sums.iter_mut().zip(row) {
                *sum = sum.add_product(w, V::load(v));
            }
        }
        for (sum, o) in sums.iter().zip(group) {
            sum.store(o);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i + 1).wrapping_mul(seed) >> 16) as f32 / 8192.0 - 4.0).collect()
    }

    /// Softmax over sink and scores, in f64, sink dropped.
    fn naive(query: &[f32], keys: &[f32], vals: &[f32], scale: f32, sink: f32) -> Vec<f64> {
        let dim = query.len();
        let scores: Vec<f64> = keys
            .chunks(dim)
            .map(|k| {
                let dot: f64 =
                    k.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                dot * f64::from(scale)
            })
            .collect();
        let max = scores.iter().copied().fold(f64::from(sink), f64::max);
        let sum: f64 =
            scores.iter().map(|s| (s - max).exp()).sum::<f64>() + (f64::from(sink) - max).exp();
        (0..dim)
            .map(|d| {
                let weighted = scores.iter().zip(vals.chunks(dim));
                weighted.map(|(s, v)| (s - max).exp() / sum * f64::from(v[d])).sum()
            })
            .collect()
    }

    #[test]
    fn tiles_give_the_softmax_with_its_sink() {
        for (dim, n) in [(8, 1), (40, 5), (64, 23)] {
            let query = values(dim, 2654435761);
            let keys = values(dim * n, 40503);
            let vals = values(dim * n, 2246822519);
            for (sink, cut) in [(-3.0, 1), (0.5, 4), (90.0, 100)] {
                let mut state = HeadState::with_sink(sink);
                let mut out = vec![0.0; dim];
                let mut scores = vec![0.0; n];
                for (k, v) in keys.chunks(cut * dim).zip(vals.chunks(cut * dim)) {
                    attend(&query, k, v, 0.125, &mut state, &mut out, &mut scores);
                }
                state.finish(&mut out);
                for (a, b) in out.iter().zip(naive(&query, &keys, &vals, 0.125, sink)) {
                    assert!((f64::from(*a) - b).abs() < 1e-5, "{dim} {n} {sink}: {a} {b}");
                }
            }
        }
    }
}
