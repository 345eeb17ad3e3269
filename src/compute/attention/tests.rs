//! Attention against the definition in f64, and against itself: other cuts, other threads.

use super::*;
use crate::simd::{Kernel, Portable};

/// Keys and values of `positions` tokens as [`KeysAndValues`] wants them. What is outside of
/// `written` is no number.
struct Plain {
    kv_heads: usize,
    dim: usize,
    written: usize,
    /// Rows by position, then head.
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KeysAndValues for Plain {
    fn read(&self, head: usize, panels: Range<usize>, keys: &mut [f32], values: &mut [f32]) {
        assert_eq!(panels.start * PANEL / TILE, (panels.end * PANEL - 1) / TILE);
        assert_eq!(keys.len(), panels.len() * PANEL * self.dim);
        for (i, position) in (panels.start * PANEL..panels.end * PANEL).enumerate() {
            for d in 0..self.dim {
                let at = (position * self.kv_heads + head) * self.dim + d;
                let number = |of: &[f32]| if position < self.written { of[at] } else { f32::NAN };
                keys[(i / PANEL * self.dim + d) * PANEL + i % PANEL] = number(&self.keys);
                values[i * self.dim + d] = number(&self.values);
            }
        }
    }
}

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| ((i + 1).wrapping_mul(seed) >> 16) as f32 / 16384.0 - 2.0).collect()
}

struct Case {
    heads: usize,
    plain: Plain,
    queries: Vec<f32>,
    sinks: Option<Vec<f32>>,
    window: Option<usize>,
}

impl Case {
    fn new(
        heads: usize,
        kv_heads: usize,
        dim: usize,
        tokens: usize,
        window: Option<usize>,
    ) -> Self {
        let keys = numbers(tokens * kv_heads * dim, 2654435761);
        let values = numbers(tokens * kv_heads * dim, 40503);
        Self {
            heads,
            plain: Plain { kv_heads, dim, written: 0, keys, values },
            queries: numbers(tokens * heads * dim, 668265263),
            sinks: Some((0..heads).map(|h| h as f32 * 3.0 - 4.0).collect()),
            window,
        }
    }

    fn tokens(&self) -> usize {
        self.queries.len() / (self.heads * self.plain.dim)
    }

    /// As usual with sinks, another without.
    fn scale(&self) -> f32 {
        let usual = (self.plain.dim as f32).sqrt().recip();
        if self.sinks.is_some() { usual } else { 2.0 * usual }
    }

    /// The tokens in chunks of these sizes over and over.
    fn run(&mut self, threads: usize, chunks: &[usize]) -> Vec<f32> {
        let pool = ThreadPool::new(threads).unwrap();
        let mut buffers = AttentionBuffers::default();
        let row = self.heads * self.plain.dim;
        let mut out = vec![f32::NAN; self.queries.len()];
        let (mut first, tokens) = (0, self.tokens());
        for chunk in chunks.iter().cycle() {
            if first == tokens {
                break;
            }
            let end = tokens.min(first + chunk);
            self.plain.written = end;
            let attention = Attention {
                cache: &self.plain,
                heads: self.heads,
                kv_heads: self.plain.kv_heads,
                head_dim: self.plain.dim,
                scale: self.scale(),
                sinks: self.sinks.as_deref(),
                first,
                window: self.window,
            };
            let rows = first * row..end * row;
            attention.run(&pool, &mut buffers, &self.queries[rows.clone()], &mut out[rows]);
            first = end;
        }
        out
    }

    /// The definition: a softmax over sink and scores, the sink's weight dropped.
    fn naive(&self, token: usize, head: usize) -> Vec<f64> {
        let Plain { kv_heads, dim, keys, values, .. } = &self.plain;
        let row = |of: &[f32], position: usize| -> Vec<f64> {
            let head = head / (self.heads / kv_heads);
            let at = (position * kv_heads + head) * dim;
            of[at..at + dim].iter().map(|x| f64::from(*x)).collect()
        };
        let query = &self.queries[(token * self.heads + head) * dim..][..*dim];
        let first = self.window.map_or(0, |w| (token + 1).saturating_sub(w));
        let scores: Vec<f64> = (first..=token)
            .map(|p| {
                let dot: f64 = row(keys, p).iter().zip(query).map(|(k, q)| k * f64::from(*q)).sum();
                dot * f64::from(self.scale())
            })
            .collect();
        let sink = self.sinks.as_ref().map_or(f64::NEG_INFINITY, |s| s[head].into());
        let max = scores.iter().copied().fold(sink, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum::<f64>() + (sink - max).exp();
        let mut out = vec![0.0; *dim];
        for (score, position) in scores.iter().zip(first..) {
            for (o, v) in out.iter_mut().zip(row(values, position)) {
                *o += (score - max).exp() / sum * v;
            }
        }
        out
    }

    fn check(&mut self, chunks: &[usize]) {
        let out = self.run(2, chunks);
        let tokens = self.tokens();
        let some = (0..tokens).filter(|t| t % 61 < 3 || t % PART < 2 || t + 2 > tokens);
        for (token, head) in some.flat_map(|t| (0..self.heads).map(move |h| (t, h))) {
            let at = (token * self.heads + head) * self.plain.dim;
            for (a, b) in out[at..].iter().zip(self.naive(token, head)) {
                assert!((f64::from(*a) - b).abs() < 1e-5, "token {token} head {head}: {a} {b}");
            }
        }
    }
}

#[test]
fn grouped_heads_with_sinks_and_windows_are_as_defined() {
    for (heads, kv_heads, dim) in [(8, 1, 64), (4, 2, 32), (3, 3, 8), (14, 2, 24), (5, 1, 40)] {
        for window in [None, Some(1), Some(20), Some(128), Some(2000)] {
            let mut case = Case::new(heads, kv_heads, dim, 300, window);
            case.check(&[128]);
            case.sinks = None;
            case.check(&[128]);
        }
    }
    for window in [None, Some(128), Some(700)] {
        let mut case = Case::new(4, 2, 16, 1200, window);
        case.check(&[500, 1, 3]);
        case.sinks = None;
        case.check(&[500, 1, 3]);
    }
}

#[test]
fn numbers_depend_neither_on_chunks_nor_on_threads() {
    for window in [None, Some(100), Some(600)] {
        let mut case = Case::new(5, 1, 24, 1100, window);
        let bits = |out: Vec<f32>| -> Vec<u32> { out.into_iter().map(f32::to_bits).collect() };
        let expected = bits(case.run(1, &[1100]));
        for threads in 1..=3 {
            for chunks in [&[1][..], &[512], &[1, 17, 64, 200], &[2]] {
                let same = bits(case.run(threads, chunks)) == expected;
                assert!(same, "window {window:?}, {threads} threads, chunks of {chunks:?}");
            }
        }
    }
}

/// Whichever instructions the processor has, plain Rust computes the same but for roundings.
#[test]
fn portable_kernels_agree_with_those_chosen() {
    for (dim, group) in [(64, 8), (40, 5)] {
        let (keys, values) = (numbers(TILE * dim, 40503), numbers(TILE * dim, 2654435761));
        let queries = numbers(group * dim, 668265263);
        let mut results =
            [(); 2].map(|()| (vec![Softmax::sink(0.5); group], vec![1.0; group * dim]));
        let seen = 3..TILE - 13;
        for (portable, (states, sums)) in results.iter_mut().enumerate() {
            let heads = Heads { queries: &queries, states, sums };
            let keys = Keys { keys: &keys, values: &values };
            let attend = Attend { keys, seen: seen.clone(), scale: 0.125, heads };
            match portable {
                0 => run_best(attend),
                _ => attend.run(Portable::<8>),
            }
        }
        for (states, sums) in &mut results {
            tile::finish(states, sums);
        }
        for (a, b) in results[0].1.iter().zip(&results[1].1) {
            assert!((a - b).abs() < 1e-5, "{dim}: {a} {b}");
        }
    }
}

/// A lane's number does not depend on how many lanes there are.
#[cfg(target_arch = "x86_64")]
#[test]
fn longer_vectors_give_the_same_bits() {
    let Some(set) = crate::simd::Avx512::detect() else {
        return println!("not run: there is no AVX-512");
    };
    for (dim, group) in [(64, 8), (64, 2), (40, 5), (24, 15), (8, 3)] {
        let (keys, values) = (numbers(TILE * dim, 40503), numbers(TILE * dim, 2654435761));
        let queries = numbers(group * dim, 668265263);
        for seen in [0..TILE, 3..TILE - 13, 5..6, 0..17, 7..40] {
            let [short, long] = [false, true].map(|long| {
                let (mut states, mut sums) =
                    (vec![Softmax::sink(0.5); group], vec![1.0; group * dim]);
                let heads = Heads { queries: &queries, states: &mut states, sums: &mut sums };
                let (keys, seen) = (Keys { keys: &keys, values: &values }, seen.clone());
                let attend = Attend { keys, seen, scale: 0.125, heads };
                match long {
                    false => set.avx2().run(attend),
                    true => set.run(attend),
                }
                (states, sums.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            });
            assert_eq!(short, long, "{group} heads of {dim}, keys {seen:?}");
        }
    }
}

#[test]
fn large_and_small_scores_do_not_overflow() {
    let mut case = Case::new(4, 1, 64, 700, None);
    case.queries.iter_mut().for_each(|q| *q *= 1e4);
    assert!(case.run(1, &[700]).iter().all(|o| o.is_finite()));
    case.queries.fill(0.0);
    case.sinks = Some(vec![-1e30, 1e30, -200.0, 0.0]);
    let out = case.run(1, &[1]);
    assert!(out.iter().all(|o| o.is_finite()));
    case.check(&[1]);
}

#[test]
fn nothing_is_allocated_twice() {
    let mut case = Case::new(8, 2, 16, 1100, None);
    case.plain.written = 1100;
    // One: of more, it is chance which of them work.
    let pool = ThreadPool::new(1).unwrap();
    let mut buffers = AttentionBuffers::default();
    let mut out = vec![0.0; 16 * 128];
    let mut bytes_after = |tokens: usize, first: usize| {
        let attention = Attention {
            cache: &case.plain,
            heads: 8,
            kv_heads: 2,
            head_dim: 16,
            scale: case.scale(),
            sinks: case.sinks.as_deref(),
            first,
            window: None,
        };
        attention.run(&pool, &mut buffers, &case.queries[..tokens * 128], &mut out[..tokens * 128]);
        buffers.bytes()
    };
    bytes_after(16, 1000);
    let most = bytes_after(1, 1099);
    assert!(most as u64 <= attention_bytes(8, 2, 16, 1100, 1), "{most}");
    for (tokens, first) in [(1, 0), (16, 300), (3, 700), (1, 1000)] {
        assert_eq!(bytes_after(tokens, first), most);
    }
}

impl AttentionBuffers {
    fn bytes(&self) -> usize {
        let partial = |p: &Partial| p.states.capacity() * 8 + p.sums.capacity() * 4;
        let threads = self.threads.iter().map(|t| {
            let tile = t.tile.keys.capacity() + t.tile.values.capacity();
            tile * 4 + partial(&t.partial) + t.states.capacity() * 8
        });
        threads.sum::<usize>() + partial(&self.parts) + self.states.capacity() * 8
    }
}
