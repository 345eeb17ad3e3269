//! Rows of weights that are floats times rows of f32 activations, tile by tile.

mod vector;
mod weight;

use std::ops::Range;

use crate::compute::Activations;
use crate::compute::lanes::{Portable, WIDTH};
use vector::Vector;
#[cfg(target_arch = "x86_64")]
use vector::{Avx2, Avx512};
use weight::{Brain, Half, Weight};

/// Rows at most of a call: while a few tokens' columns are in the first-level cache, so many rows
/// pass by. With 16, tiles of 512 tokens were a tenth slower.
pub const ROWS: usize = 32;
/// Rows of a tile, whose sums are kept in registers.
const TILE_ROWS: usize = 4;
/// Columns that a few tokens are multiplied by before the next, a multiple of every vector's: 1024
/// were a quarter slower with six tokens, whose columns then fill half of the cache.
const BLOCK: usize = 512;

/// Rows of weights in one of the precisions that floats come in.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    F32(&'a [f32]),
    F16(&'a [Half]),
    Bf16(&'a [Brain]),
}

/// Calls `put(row, token, sum)` for every pair of a row of `rows`, at most [`ROWS`], and one of the
/// inputs.
pub fn multiply(
    rows: Rows<'_>,
    columns: usize,
    inputs: &[u32],
    activations: &Activations,
    put: impl FnMut(usize, usize, f32),
) {
    match rows {
        Rows::F32(rows) => best(Work { rows, columns, inputs, activations, put }),
        Rows::F16(rows) => best(Work { rows, columns, inputs, activations, put }),
        Rows::Bf16(rows) => best(Work { rows, columns, inputs, activations, put }),
    }
}

/// Rows to multiply.
struct Work<'a, W, P> {
    rows: &'a [W],
    columns: usize,
    inputs: &'a [u32],
    activations: &'a Activations,
    put: P,
}

/// Multiplies with the processor's best instructions.
fn best<W: Weight, P: FnMut(usize, usize, f32)>(mut work: Work<'_, W, P>) {
    #[cfg(target_arch = "x86_64")]
    {
        if Avx512::available() {
            // SAFETY: the processor has the features that the function is compiled for.
            return unsafe { multiply_avx512(work) };
        }
        if Avx2::available() {
            // SAFETY: as above.
            return unsafe { multiply_avx2(work) };
        }
    }
    work.run::<Portable, WIDTH, 2, 1>();
}

/// # Safety
/// The processor must have AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn multiply_avx2<W: Weight, P: FnMut(usize, usize, f32)>(mut work: Work<'_, W, P>) {
    // With four rows of weights, eight vectors of sums, of sixteen registers.
    work.run::<Avx2, WIDTH, 2, 1>();
}

/// # Safety
/// The processor must have AVX-512, and AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn multiply_avx512<W: Weight, P: FnMut(usize, usize, f32)>(mut work: Work<'_, W, P>) {
    // Twenty-four of thirty-two registers.
    work.run::<Avx512, 16, 6, 4>();
}

impl<W: Weight, P: FnMut(usize, usize, f32)> Work<'_, W, P> {
    /// Tiles of [`TILE_ROWS`] rows and `T` tokens, and `S` of those that are left, in vectors of `N`
    /// floats.
    #[inline(always)]
    fn run<V: Vector<N>, const N: usize, const T: usize, const S: usize>(&mut self) {
        let (many, rest) = self.inputs.as_chunks::<T>();
        for (m, &tokens) in many.iter().enumerate() {
            self.tokens::<V, N, T>(m * T, tokens);
        }
        let first = self.inputs.len() - rest.len();
        let (some, rest) = rest.as_chunks::<S>();
        for (m, &tokens) in some.iter().enumerate() {
            self.tokens::<V, N, S>(first + m * S, tokens);
        }
        let first = self.inputs.len() - rest.len();
        for (t, &token) in rest.iter().enumerate() {
            self.tokens::<V, N, 1>(first + t, [token]);
        }
    }

    /// All rows with a few tokens, number `first` and those after it.
    #[inline(always)]
    fn tokens<V: Vector<N>, const N: usize, const T: usize>(
        &mut self,
        first: usize,
        inputs: [u32; T],
    ) {
        let Self { rows, columns, activations, ref mut put, .. } = *self;
        let mut tokens = [activations.row(inputs[0] as usize); T];
        for (token, &input) in tokens.iter_mut().zip(&inputs) {
            *token = activations.row(input as usize);
        }
        // One token's columns are read once, whatever the order.
        let block = if T == 1 { columns.max(1) } else { BLOCK };
        let mut sums = [[[V::zero(); T]; TILE_ROWS]; ROWS / TILE_ROWS];
        let whole = columns / N * N;
        for start in (0..whole).step_by(block) {
            let range = start..whole.min(start + block);
            for (rows, sums) in rows.chunks(TILE_ROWS * columns).zip(&mut sums) {
                if rows.len() == TILE_ROWS * columns {
                    add_tile::<V, W, N, TILE_ROWS, T>(rows, columns, tokens, range.clone(), sums);
                } else {
                    for (row, sums) in rows.chunks_exact(columns).zip(sums.as_chunks_mut::<1>().0) {
                        add_tile::<V, W, N, 1, T>(row, columns, tokens, range.clone(), sums);
                    }
                }
            }
        }
        for (r, (row, sums)) in rows.chunks_exact(columns).zip(sums.as_flattened()).enumerate() {
            for (t, (token, sum)) in tokens.iter().zip(sums).enumerate() {
                let mut tail = 0.0;
                for (w, x) in row[whole..].iter().zip(&token[whole..]) {
                    tail += w.get() * x;
                }
                put(r, first + t, sum.sum() + tail);
            }
        }
    }
}

/// Adds the products of some columns of every row with those of every token:
/// `sums[r][t] += rows[r] · tokens[t]`, lane by lane.
///
/// The order of each sum depends on the columns alone, not on `R`, `T` or where calls are cut.
#[inline(always)]
fn add_tile<V: Vector<N>, W: Weight, const N: usize, const R: usize, const T: usize>(
    rows: &[W],
    columns: usize,
    tokens: [&[f32]; T],
    range: Range<usize>,
    sums: &mut [[V; T]; R],
) {
    let blocks = range.len() / N;
    // Loops all along, not `map`: its closure may be left a function, compiled without the set's
    // instructions.
    let mut weights: [&[[W; N]]; R] = [&[]; R];
    for (weights, row) in weights.iter_mut().zip(rows.chunks_exact(columns)) {
        *weights = &row[range.clone()].as_chunks().0[..blocks];
    }
    let mut inputs: [&[[f32; N]]; T] = [&[]; T];
    for (inputs, token) in inputs.iter_mut().zip(tokens) {
        *inputs = &token[range.clone()].as_chunks().0[..blocks];
    }
    let mut now = *sums;
    for b in 0..blocks {
        let mut x = [V::zero(); T];
        for (x, input) in x.iter_mut().zip(&inputs) {
            // SAFETY: each has so many blocks. The compiler did not see it, and its checks took a tenth
            // of the time.
            *x = V::load(unsafe { input.get_unchecked(b) });
        }
        for r in 0..R {
            // SAFETY: as above.
            let w = W::load::<N, V>(unsafe { weights[r].get_unchecked(b) });
            for t in 0..T {
                now[r][t] = now[r][t].add_product(w, x[t]);
            }
        }
    }
    *sums = now;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i + 1).wrapping_mul(seed) >> 16) as f32 / 32768.0 - 1.0).collect()
    }

    /// Of rows whose weights are these floats, narrowed.
    fn check<V: Vector<N>, W: Weight, const N: usize>(narrow: impl Fn(f32) -> W) {
        for columns in [1, 7, 8, 9, 15, 16, 17, 64, 191, 1500] {
            for (rows, tokens) in [(1, 1), (3, 2), (4, 4), (ROWS, 5), (7, 9), (5, 8)] {
                let weights: Vec<W> =
                    values(rows * columns, 2654435761).into_iter().map(&narrow).collect();
                let mut activations = Activations::default();
                let x = values(tokens * columns, 668265263);
                activations.reset(tokens, columns).copy_from_slice(&x);
                let inputs: Vec<u32> = (0..tokens as u32).collect();
                // In tiles, and each row and token by itself.
                let (all, single) =
                    (RefCell::new(vec![f32::NAN; rows * tokens]), RefCell::new(0.0));
                let work = |rows, inputs| Work {
                    rows,
                    columns,
                    inputs,
                    activations: &activations,
                    put: |r: usize, t: usize, sum| {
                        all.borrow_mut()[t * rows.len() / columns + r] = sum;
                        *single.borrow_mut() = sum;
                    },
                };
                work(&weights, &inputs).run::<V, N, 6, 4>();
                let tiles = all.borrow().clone();
                for r in 0..rows {
                    for t in 0..tokens {
                        let row = &weights[r * columns..][..columns];
                        work(row, &inputs[t..=t]).run::<V, N, 2, 1>();
                        let single = *single.borrow();
                        assert_eq!(tiles[t * rows + r].to_bits(), single.to_bits());
                        let products = row.iter().zip(activations.row(t));
                        let exact: f64 =
                            products.map(|(w, &x)| f64::from(w.get()) * f64::from(x)).sum();
                        let error = (f64::from(single) - exact).abs();
                        assert!(error < 1e-3, "{columns}: {single} {exact}");
                    }
                }
            }
        }
    }

    fn check_all<V: Vector<N>, const N: usize>() {
        check::<V, f32, N>(|x| x);
        check::<V, Half, N>(|x| bytemuck::cast(half::f16::from_f32(x).to_le_bytes()));
        check::<V, Brain, N>(|x| bytemuck::cast(half::bf16::from_f32(x).to_le_bytes()));
    }

    #[test]
    fn tiles_agree_with_f64_with_every_set() {
        check_all::<Portable, WIDTH>();
        #[cfg(target_arch = "x86_64")]
        {
            println!("ran: AVX2 {}, AVX-512 {}", Avx2::available(), Avx512::available());
            if Avx2::available() {
                check_all::<Avx2, WIDTH>();
            }
            if Avx512::available() {
                check_all::<Avx512, 16>();
            }
        }
    }
}
