//! Rows of weights that are floats times rows of f32 activations, tile by tile.
//!
//! Lane `l` of `N` adds the products of columns `l`, `l + N`, `l + 2 N` and so on, and the lanes are
//! added as a tree: sets with other widths, and plain Rust, which does not fuse multiply and add,
//! differ in the last bits. On one machine only one is used.
//!
//! Rows shifted by 16 bytes against the cache's lines, as the allocator gives them, made tiles a third
//! slower. Tried without gain: asking for the next rows; blocks of 256 columns of 16 rows and 16
//! tokens that the first-level cache holds.

mod weight;

use std::ops::Range;

use crate::compute::Activations;
use crate::ggml::{Bf16Le, F16Le};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Fused, Kernel, Portable, run_best};
use weight::Weight;

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
pub enum FloatRows<'a> {
    F32(&'a [f32]),
    F16(&'a [F16Le]),
    Bf16(&'a [Bf16Le]),
}

/// Calls `put(row, token, sum)` for every pair of a row of `rows`, at most [`ROWS`], and one of the
/// inputs.
pub fn multiply(
    rows: FloatRows<'_>,
    columns: usize,
    inputs: &[u32],
    activations: &Activations,
    put: impl FnMut(usize, usize, f32),
) {
    match rows {
        FloatRows::F32(rows) => run_best(Work { rows, columns, inputs, activations, put }),
        FloatRows::F16(rows) => run_best(Work { rows, columns, inputs, activations, put }),
        FloatRows::Bf16(rows) => run_best(Work { rows, columns, inputs, activations, put }),
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

#[cfg(target_arch = "x86_64")]
impl<W: Weight, P: FnMut(usize, usize, f32)> Kernel<Avx512> for Work<'_, W, P> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, set: Avx512) {
        // Twenty-four of thirty-two registers.
        self.tiles::<_, 16, 6, 4>(set);
    }
}

#[cfg(target_arch = "x86_64")]
impl<W: Weight, P: FnMut(usize, usize, f32)> Kernel<Avx2> for Work<'_, W, P> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, set: Avx2) {
        // With four rows of weights, eight vectors of sums, of sixteen registers.
        self.tiles::<_, 8, 2, 1>(set);
    }
}

impl<W: Weight, P: FnMut(usize, usize, f32)> Kernel<Portable<8>> for Work<'_, W, P> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, set: Portable<8>) {
        self.tiles::<_, 8, 2, 1>(set);
    }
}

impl<W: Weight, P: FnMut(usize, usize, f32)> Work<'_, W, P> {
    /// Tiles of [`TILE_ROWS`] rows and `T` tokens, and `L` of those that are left, in vectors of `N`
    /// floats, which are the lanes of the set.
    #[inline(always)]
    fn tiles<S: Fused, const N: usize, const T: usize, const L: usize>(&mut self, set: S) {
        const { assert!(N == S::LANES) }
        let (many, rest) = self.inputs.as_chunks::<T>();
        for (m, &tokens) in many.iter().enumerate() {
            self.tokens::<S, N, T>(set, m * T, tokens);
        }
        let first = self.inputs.len() - rest.len();
        let (some, rest) = rest.as_chunks::<L>();
        for (m, &tokens) in some.iter().enumerate() {
            self.tokens::<S, N, L>(set, first + m * L, tokens);
        }
        let first = self.inputs.len() - rest.len();
        for (t, &token) in rest.iter().enumerate() {
            self.tokens::<S, N, 1>(set, first + t, [token]);
        }
    }

    /// All rows with a few tokens, number `first` and those after it.
    #[inline(always)]
    fn tokens<S: Fused, const N: usize, const T: usize>(
        &mut self,
        set: S,
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
        let mut sums = [[[set.splat(0.0); T]; TILE_ROWS]; ROWS / TILE_ROWS];
        let whole = columns / N * N;
        for start in (0..whole).step_by(block) {
            let range = start..whole.min(start + block);
            for (rows, sums) in rows.chunks(TILE_ROWS * columns).zip(&mut sums) {
                if rows.len() == TILE_ROWS * columns {
                    add_tile::<S, W, N, TILE_ROWS, T>(
                        set,
                        rows,
                        columns,
                        tokens,
                        range.clone(),
                        sums,
                    );
                } else {
                    for (row, sums) in rows.chunks_exact(columns).zip(sums.as_chunks_mut::<1>().0) {
                        add_tile::<S, W, N, 1, T>(set, row, columns, tokens, range.clone(), sums);
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
                put(r, first + t, set.sum(*sum) + tail);
            }
        }
    }
}

/// Adds the products of some columns of every row with those of every token:
/// `sums[r][t] += rows[r] · tokens[t]`, lane by lane.
///
/// The order of each sum depends on the columns alone, not on `R`, `T` or where calls are cut.
#[inline(always)]
fn add_tile<S: Fused, W: Weight, const N: usize, const R: usize, const T: usize>(
    set: S,
    rows: &[W],
    columns: usize,
    tokens: [&[f32]; T],
    range: Range<usize>,
    sums: &mut [[S::F32; T]; R],
) {
    let blocks = range.len() / N;
    // By index: of zipped iterators the compiler makes scatters of addresses where there are some, and
    // products of f16 took a tenth longer. Nothing in these closures needs the set's instructions.
    let weights: [&[[W; N]]; R] =
        std::array::from_fn(|r| &rows[r * columns..][range.clone()].as_chunks().0[..blocks]);
    let inputs: [&[[f32; N]]; T] =
        std::array::from_fn(|t| &tokens[t][range.clone()].as_chunks().0[..blocks]);
    let mut now = *sums;
    for b in 0..blocks {
        let mut x = [set.splat(0.0); T];
        for (x, input) in x.iter_mut().zip(&inputs) {
            // SAFETY: each has so many blocks. The compiler did not see it, and its checks took a tenth
            // of the time.
            *x = set.load(unsafe { input.get_unchecked(b) });
        }
        for r in 0..R {
            // SAFETY: as above.
            let w = W::load(set, unsafe { weights[r].get_unchecked(b) });
            for t in 0..T {
                now[r][t] = set.fused(w, x[t], now[r][t]);
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
    fn check<S: Fused, W: Weight, const N: usize>(set: S, narrow: impl Fn(f32) -> W) {
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
                work(&weights, &inputs).tiles::<S, N, 6, 4>(set);
                let tiles = all.borrow().clone();
                for r in 0..rows {
                    for t in 0..tokens {
                        let row = &weights[r * columns..][..columns];
                        work(row, &inputs[t..=t]).tiles::<S, N, 2, 1>(set);
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

    fn check_all<S: Fused, const N: usize>(set: S) {
        check::<S, f32, N>(set, |x| x);
        check::<S, F16Le, N>(set, |x| bytemuck::cast(half::f16::from_f32(x).to_le_bytes()));
        check::<S, Bf16Le, N>(set, |x| bytemuck::cast(half::bf16::from_f32(x).to_le_bytes()));
    }

    #[test]
    fn tiles_agree_with_f64_with_every_set() {
        check_all::<_, 8>(Portable::<8>);
        #[cfg(target_arch = "x86_64")]
        {
            let (avx2, avx512) = (Avx2::detect(), Avx512::detect());
            println!("ran: AVX2 {}, AVX-512 {}", avx2.is_some(), avx512.is_some());
            let _ = avx2.map(check_all::<_, 8>);
            let _ = avx512.map(check_all::<_, 16>);
        }
    }
}
