//! How fast one thread multiplies each type of weights with activations: single rows from memory
//! and from cache, as in decoding, and tiles with many tokens, as in reading a prompt.
//!
//! `cargo bench --bench kernels [-- TYPE...]` prints JSON lines: `gb_per_s` of weights read, and
//! `gmac_per_s`, 10^9 products. Each is the best of several repetitions.

use std::time::{Duration, Instant};

use qrun::compute::{self, Activations, Matrix, Product, SharedSlice, ThreadPool};
use qrun::ggml::{self, ActivationBlock, GgmlType, Inputs, RowKernel, Scratch};

const COLUMNS: usize = 4096;
/// Rows that fit the second-level cache.
const FEW_ROWS: usize = 64;
/// Bytes that no cache holds: some processors have a third level of hundreds of megabytes.
const MEMORY: usize = 3 << 29;
const TOKENS: usize = 512;
const TIME: Duration = Duration::from_millis(600);

fn main() {
    let wanted: Vec<GgmlType> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .map(|a| a.parse().unwrap_or_else(|e| panic!("{e}")))
        .collect();
    for &ty in GgmlType::ALL {
        if !wanted.is_empty() && !wanted.contains(&ty) {
            continue;
        }
        measure(ty);
    }
}

/// How a type is multiplied: by a kernel of its own, or as floats.
enum Multiplier {
    Kernel(RowKernel, Vec<ActivationBlock>, Scratch),
    Floats(ThreadPool, Activations),
}

impl Multiplier {
    fn new(ty: GgmlType, activations: &[f32]) -> Self {
        if let Some(kernel) = RowKernel::new(ty) {
            let stride = ActivationBlock::count(COLUMNS);
            let mut blocks = vec![ActivationBlock::ZERO; TOKENS * stride];
            for (blocks, row) in blocks.chunks_mut(stride).zip(activations.chunks(COLUMNS)) {
                ActivationBlock::quantize(row, blocks);
            }
            return Self::Kernel(kernel, blocks, Scratch::default());
        }
        let mut floats = Activations::default();
        floats.reset(TOKENS, COLUMNS).copy_from_slice(activations);
        Self::Floats(ThreadPool::new(1).expect("a thread"), floats)
    }

    /// Multiplies whole tiles of rows with the first tokens.
    fn multiply(&mut self, ty: GgmlType, rows: &[u8], tokens: &[u32], out: &mut [f32]) {
        let count = out.len() / tokens.len();
        match self {
            Self::Kernel(kernel, blocks, _) if tokens.len() == 1 => {
                kernel.dot_rows(rows, &blocks[..ActivationBlock::count(COLUMNS)], out);
            }
            Self::Kernel(kernel, blocks, scratch) => {
                let inputs =
                    Inputs { blocks, stride: ActivationBlock::count(COLUMNS), numbers: tokens };
                kernel.multiply(rows, count, inputs, scratch, out);
            }
            Self::Floats(pool, activations) => {
                let matrix = Matrix::new(ty, COLUMNS, count, rows).expect("whole rows");
                let out = SharedSlice::new(out);
                let product = Product { matrix, bias: None, gate: None, inputs: tokens, out };
                compute::multiply(pool, false, activations, &[product]);
            }
        }
    }
}

fn measure(ty: GgmlType) {
    let few: Vec<f32> = (0..TOKENS as u32 * COLUMNS as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0)
        .collect();
    let row_bytes = ty.row_bytes(COLUMNS).expect("whole blocks");
    // Rows that are unpacked together.
    let tile_rows = RowKernel::new(ty).map_or(64, |kernel| kernel.task_rows());
    let many_rows = MEMORY / row_bytes / tile_rows * tile_rows;
    // As a file has them, at a multiple of 32 that is none of 64.
    let mut lines = vec![[0u8; 64]; (many_rows * row_bytes).div_ceil(64) + 2];
    let shift = 32 + lines.as_ptr().cast::<u8>().align_offset(64);
    let bytes = &mut lines.as_flattened_mut()[shift..][..many_rows * row_bytes];
    let importance = vec![1.0; COLUMNS];
    let (first, rest) = bytes.split_at_mut(64 * row_bytes);
    ggml::quantize(ty, &few[..64 * COLUMNS], COLUMNS, Some(&importance), first)
        .expect("finite weights");
    rest.chunks_mut(first.len()).for_each(|part| part.copy_from_slice(first));

    let mut multiplier = Multiplier::new(ty, &few);
    let mut out = vec![0.0; many_rows];
    let mut line = format!("{{\"type\": \"{ty}\"");
    for (rows, name) in [(FEW_ROWS, "cache"), (many_rows, "memory")] {
        let seconds = best(|| {
            multiplier.multiply(ty, &bytes[..rows * row_bytes], &[0], &mut out[..rows]);
        });
        let weights = (rows * COLUMNS) as f64;
        line += &format!(
            ", \"row_{name}_gb_per_s\": {:.2}, \"row_{name}_gmac_per_s\": {:.2}",
            (rows * row_bytes) as f64 / seconds / 1e9,
            weights / seconds / 1e9,
        );
    }
    for tokens in [4, 64, TOKENS] {
        let numbers: Vec<u32> = (0..tokens as u32).collect();
        let out = &mut out[..tile_rows * tokens];
        // As many rows as are new to the caches after another matrix.
        let seconds = best(|| {
            for rows in bytes.chunks_exact(tile_rows * row_bytes).take(2048 / tokens + 1) {
                multiplier.multiply(ty, rows, &numbers, out);
            }
        });
        let products = (tile_rows * COLUMNS * tokens * (2048 / tokens + 1)) as f64;
        line += &format!(", \"tile_{tokens}_gmac_per_s\": {:.2}", products / seconds / 1e9);
    }
    println!("{line}}}");
}

/// Seconds of the fastest call.
fn best(mut work: impl FnMut()) -> f64 {
    work();
    let (begin, mut best) = (Instant::now(), f64::MAX);
    while begin.elapsed() < TIME {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
