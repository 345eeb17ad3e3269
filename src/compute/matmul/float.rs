//! Rows of f32 weights times rows of f32 activations, tile by tile.

use crate::compute::Activations;
#[cfg(target_arch = "x86_64")]
use crate::compute::lanes;
use crate::compute::lanes::{Lanes, Portable, dot_tile};

/// Rows of weights multiplied together.
pub const TILE_ROWS: usize = 4;
/// Activation rows of a tile; with [`TILE_ROWS`] rows of weights, eight vectors of sums.
const TILE_TOKENS: usize = 2;

/// Calls `put(row, token, sum)` for every pair of a row of `rows` and one of the inputs.
pub fn multiply(
    rows: &[f32],
    columns: usize,
    inputs: &[u32],
    activations: &Activations,
    put: impl Fn(usize, usize, f32),
) {
    #[cfg(target_arch = "x86_64")]
    if lanes::has_avx2() {
        // SAFETY: the processor has the features that `multiply_avx2` is compiled for.
        unsafe { multiply_avx2(rows, columns, inputs, activations, put) };
        return;
    }
    multiply_with::<Portable>(rows, columns, inputs, activations, put);
}

/// # Safety
/// The processor must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_avx2(
    rows: &[f32],
    columns: usize,
    inputs: &[u32],
    activations: &Activations,
    put: impl Fn(usize, usize, f32),
) {
    multiply_with::<lanes::Avx2>(rows, columns, inputs, activations, put);
}

#[inline(always)]
fn multiply_with<V: Lanes>(
    rows: &[f32],
    columns: usize,
    inputs: &[u32],
    activations: &Activations,
    put: impl Fn(usize, usize, f32),
) {
    if let Some((full, _)) = rows.split_at_checked(TILE_ROWS * columns) {
        let row = |i: usize| &full[i * columns..][..columns];
        let weights: [&[f32]; TILE_ROWS] = std::array::from_fn(row);
        let (pairs, rest) = inputs.as_chunks::<TILE_TOKENS>();
        for (p, pair) in pairs.iter().enumerate() {
            let columns = pair.map(|input| activations.row(input as usize));
            let sums = dot_tile::<V, TILE_ROWS, TILE_TOKENS>(weights, columns);
            for (r, sums) in sums.iter().enumerate() {
                for (t, &sum) in sums.iter().enumerate() {
                    put(r, p * TILE_TOKENS + t, sum);
                }
            }
        }
        for (t, &input) in rest.iter().enumerate() {
            let sums = dot_tile::<V, TILE_ROWS, 1>(weights, [activations.row(input as usize)]);
            for (r, [sum]) in sums.into_iter().enumerate() {
                put(r, pairs.len() * TILE_TOKENS + t, sum);
            }
        }
    } else {
        for (r, row) in rows.chunks_exact(columns).enumerate() {
            for (t, &input) in inputs.iter().enumerate() {
                let [[sum]] = dot_tile::<V, 1, 1>([row], [activations.row(input as usize)]);
                put(r, t, sum);
            }
        }
    }
}
