//! Attention at the shapes of gpt-oss-20b, over keys and values in half precision: milliseconds of
//! one layer, by threads.
//!
//! `cargo bench --bench attention`

use std::ops::Range;
use std::time::Instant;

use qrun::compute::{
    Attention, AttentionBuffers, KeysAndValues, PANEL, ThreadPool, narrow_f16, widen_f16,
};

const HEADS: usize = 64;
const KV_HEADS: usize = 8;
const DIM: usize = 64;
const ROW: usize = HEADS * DIM;
const CHUNK: usize = 512;

/// Keys and values of all positions, as the cache has them.
struct Halves {
    positions: usize,
    keys: Vec<u16>,
    values: Vec<u16>,
}

impl Halves {
    fn new(positions: usize) -> Self {
        let halves = |seed| {
            let mut halves = vec![0; positions * KV_HEADS * DIM];
            narrow_f16(&numbers(halves.len(), seed), &mut halves);
            halves
        };
        Self { positions, keys: halves(2654435761), values: halves(40503) }
    }
}

impl KeysAndValues for Halves {
    fn read(&self, head: usize, panels: Range<usize>, keys: &mut [f32], values: &mut [f32]) {
        let start = (head * self.positions + panels.start * PANEL) * DIM;
        let range = start..start + panels.len() * PANEL * DIM;
        widen_f16(&self.keys[range.clone()], keys);
        widen_f16(&self.values[range], values);
    }
}

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| ((i + 1).wrapping_mul(seed) >> 16) as f32 / 32768.0 - 1.0).collect()
}

fn main() {
    let pools = [1, 2].map(|threads| ThreadPool::new(threads).expect("threads start"));
    println!("{:<32}{:>12}{:>12}", "milliseconds of one layer", "1 thread", "2 threads");
    let cases = [
        ("prefill of 512 tokens", 0..512, CHUNK, None),
        ("prefill of 4096 tokens", 0..4096, CHUNK, None),
        ("the same, window of 128", 0..4096, CHUNK, Some(128)),
        ("a token after 1023", 1023..1024, 1, None),
        ("a token after 32767", 32767..32768, 1, None),
        ("the same, window of 128", 32767..32768, 1, Some(128)),
    ];
    for (name, positions, chunk, window) in cases {
        let cache = Halves::new(positions.end);
        let times = pools.each_ref().map(|pool| best(pool, &cache, &positions, chunk, window));
        println!("{name:<32}{:>12.3}{:>12.3}", times[0], times[1]);
    }
}

/// Milliseconds of the fastest of a few runs.
fn best(
    pool: &ThreadPool,
    cache: &Halves,
    positions: &Range<usize>,
    chunk: usize,
    window: Option<usize>,
) -> f64 {
    let sinks = [0.0; HEADS];
    let queries = numbers(chunk * ROW, 668265263);
    let mut out = vec![0.0; queries.len()];
    let mut buffers = AttentionBuffers::default();
    let mut best = f64::MAX;
    for _ in 0..if chunk == 1 { 30 } else { 4 } {
        let started = Instant::now();
        for first in positions.clone().step_by(chunk) {
            let attention = Attention {
                cache,
                heads: HEADS,
                kv_heads: KV_HEADS,
                head_dim: DIM,
                scale: (DIM as f32).sqrt().recip(),
                sinks: Some(&sinks),
                first,
                window,
            };
            attention.run(pool, &mut buffers, &queries, &mut out);
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
    }
    best
}
