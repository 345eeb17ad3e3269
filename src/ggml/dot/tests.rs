//! Every instruction set and both ways to multiply against each other and against floats.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::ggml::{GgmlType, dequantize, quantize};

/// Floats of many magnitudes.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n)
        .map(|i| {
            let scale = [1.0, 0.03, 4.0, 0.0, 1e-3][i / 96 % 5];
            rng.random_range(-1.0..1.0f32) * scale
        })
        .collect()
}

fn blocks(rows: usize, columns: usize) -> Vec<ActivationBlock> {
    let stride = ActivationBlock::count(columns);
    let mut blocks = vec![ActivationBlock::ZERO; rows * stride];
    for (row, blocks) in values(rows * columns, 77).chunks(columns).zip(blocks.chunks_mut(stride)) {
        ActivationBlock::quantize(row, blocks);
    }
    blocks
}

fn kernels<B: Levels>() -> Vec<(&'static str, RowKernel)> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
    let mut all = vec![("portable", RowKernel::portable::<B>())];
    #[cfg(target_arch = "x86_64")]
    {
        all.extend(RowKernel::avx2::<B>().map(|k| ("AVX2", k)));
        all.extend(RowKernel::vnni::<B>().map(|k| ("AVX-512 VNNI", k)));
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    all.extend(amx::kernel::<B>().map(|k| ("AMX", k)));
    all
}

fn check<B: Levels>(columns: usize) {
    let ty = B::TYPE;
    let rows = 64;
    let weights = values(rows * columns, 5);
    let row_bytes = ty.row_bytes(columns).unwrap();
    let mut bytes = vec![0; rows * row_bytes];
    quantize(ty, &weights, columns, Some(&vec![1.0; columns]), &mut bytes).unwrap();
    let mut weights = vec![0.0; rows * columns];
    dequantize(ty, &bytes, &mut weights).unwrap();
    let tokens = 53;
    let (activations, stride) = (blocks(tokens, columns), ActivationBlock::count(columns));

    let mut expected = vec![0.0; rows * tokens];
    for (a, out) in activations.chunks(stride).zip(expected.chunks_mut(rows)) {
        RowKernel::portable::<B>().dot_rows(&bytes, a, out);
    }
    for (t, blocks) in activations.chunks(stride).enumerate() {
        for r in 0..rows {
            let w = &weights[r * columns..][..columns];
            let (mut exact, mut size) = (0.0, 0.0);
            for (i, &w) in w.iter().enumerate() {
                let block = &blocks[i / 256];
                let (g, i) = (i % 256 / 32, i % 32);
                let product =
                    f64::from(w) * f64::from(block.levels[g][i]) * f64::from(block.scales[g]);
                exact += product;
                size += product.abs();
            }
            let found = f64::from(expected[t * rows + r]);
            assert!(
                (found - exact).abs() <= 1e-6 * size,
                "{ty} {columns} row {r} token {t}: {found} for {exact}"
            );
        }
    }
    for (name, kernel) in kernels::<B>() {
        let mut out = vec![0.0; rows];
        for (t, a) in activations.chunks(stride).enumerate() {
            kernel.dot_rows(&bytes, a, &mut out);
            assert_eq!(out, expected[t * rows..][..rows], "{ty} {columns} {name}, token {t}");
            // Rows that are no multiple of those that are multiplied together.
            for few in [1, 3, 6] {
                let bytes = &bytes[..few * row_bytes];
                kernel.dot_rows(bytes, a, &mut out[..few]);
                let expected = &expected[t * rows..][..few];
                assert_eq!(out[..few], *expected, "{ty} {columns} {name}, token {t}, {few} rows");
            }
        }
        let mut scratch = Scratch::default();
        let tile = kernel.tile_rows();
        for (count, tile) in [(1, tile), (3, tile), (4, 2 * tile), (21, tile), (53, 2 * tile)] {
            // In another order than they stand in.
            let numbers: Vec<u32> = (0..count as u32).rev().collect();
            let inputs = Inputs { blocks: &activations, stride, numbers: &numbers };
            let mut out = vec![0.0; tile * count];
            for first in (0..rows).step_by(tile) {
                let rows_of = &bytes[first * row_bytes..][..tile * row_bytes];
                kernel.multiply(rows_of, tile, inputs, &mut scratch, &mut out);
                for (i, &t) in numbers.iter().enumerate() {
                    let t = t as usize;
                    assert_eq!(
                        out[i * tile..][..tile],
                        expected[t * rows + first..][..tile],
                        "{ty} {columns} {name}, tile at {first}, {count} tokens, token {t}"
                    );
                }
            }
        }
    }
}

#[test]
fn sets_and_tiles_give_the_same_bits() {
    for &ty in GgmlType::ALL {
        for columns in [32, 192, 256, 480, 768, 2880] {
            if columns % ty.block_size() == 0 {
                crate::ggml::dispatch::dispatch_levels!(ty, B => check::<B>(columns), else { break });
            }
        }
    }
    println!(
        "ran: {:?}",
        kernels::<super::super::q8_0::BlockQ8_0>().iter().map(|k| k.0).collect::<Vec<_>>()
    );
}
