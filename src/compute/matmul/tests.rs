use super::*;
use crate::compute::Activation;
use crate::ggml::{self, GgmlType};

fn values(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| ((i + 1).wrapping_mul(seed) >> 16) as f32 / 32768.0 - 1.0).collect()
}

/// Every supported type with columns of 32, at row and token counts around the tile sizes.
#[test]
fn products_are_dots_of_rows_plus_bias() {
    for &ty in GgmlType::ALL.iter().filter(|t| 64 % t.block_size() == 0) {
        for (rows, tokens) in [(1, 1), (4, 2), (7, 5), (9, 3), (70, 9)] {
            check(ty, 64, rows, tokens);
        }
    }
    check(GgmlType::F32, 37, 5, 3);
}

fn check(ty: GgmlType, columns: usize, rows: usize, tokens: usize) {
    let mut bytes = vec![0; columns / ty.block_size() * ty.block_bytes() * rows];
    ggml::quantize(ty, &values(columns * rows, 2654435761), columns, None, &mut bytes).unwrap();
    let matrix = Matrix::new(ty, columns, rows, &bytes).unwrap();
    let bias = values(rows, 40503);
    // The second product reads some of the rows, and in another order.
    let (all, some): (Vec<u32>, Vec<u32>) =
        ((0..tokens as u32).collect(), (0..tokens as u32).rev().step_by(2).collect());
    for exact in [true, false] {
        let mut activations = Activations::default();
        activations.reset(tokens, columns).copy_from_slice(&values(tokens * columns, 668265263));
        let mut first = vec![f32::NAN; rows * all.len()];
        let mut second = vec![f32::NAN; rows * some.len()];
        let products = [
            Product {
                matrix,
                bias: Some(&bias),
                gate: None,
                inputs: &all,
                out: SharedSlice::new(&mut first),
            },
            Product {
                matrix,
                bias: None,
                gate: None,
                inputs: &some,
                out: SharedSlice::new(&mut second),
            },
        ];
        let pool = ThreadPool::new(3).unwrap();
        multiply(&pool, exact, &mut activations, &products);
        let tolerance = if Form::of(&matrix, exact) == Form::Floats { 1e-4 } else { 0.2 };
        let mut row = vec![0.0; columns];
        for r in 0..rows {
            matrix.row_f32(r, &mut row);
            let dot = |t: u32| -> f64 {
                let activation = activations.row(t as usize).iter();
                row.iter().zip(activation).map(|(&w, &a)| f64::from(w) * f64::from(a)).sum()
            };
            for (i, &t) in all.iter().enumerate() {
                let error = f64::from(first[i * rows + r] - bias[r]) - dot(t);
                assert!(error.abs() < tolerance, "{ty} exact={exact} row {r}: {error}");
            }
            for (i, &t) in some.iter().enumerate() {
                let error = f64::from(second[i * rows + r]) - dot(t);
                assert!(error.abs() < tolerance, "{ty} exact={exact} row {r}: {error}");
            }
        }
    }
}

/// A gated product is the gate of two products, whatever the types of the two.
#[test]
fn gated_products_are_the_gate_of_two() {
    use GgmlType::{F16, MXFP4, Q8_0};
    let (columns, rows) = (96, 75);
    let pool = ThreadPool::new(2).unwrap();
    let bytes = |ty: GgmlType, seed| {
        let mut bytes = vec![0; columns / ty.block_size() * ty.block_bytes() * rows];
        ggml::quantize(ty, &values(columns * rows, seed), columns, None, &mut bytes).unwrap();
        bytes
    };
    let (gate_bias, bias) = (values(rows, 40503), values(rows, 2246822519));
    for (of_gate, ty) in [(MXFP4, MXFP4), (Q8_0, MXFP4), (F16, Q8_0), (Q8_0, F16)] {
        let (gate_bytes, bytes) = (bytes(of_gate, 2654435761), bytes(ty, 3266489917));
        let gate = Matrix::new(of_gate, columns, rows, &gate_bytes).unwrap();
        let matrix = Matrix::new(ty, columns, rows, &bytes).unwrap();
        for (tokens, exact) in [(1, false), (3, false), (19, false), (19, true)] {
            let inputs: Vec<u32> = (0..tokens as u32).rev().collect();
            let mut activations = Activations::default();
            activations
                .reset(tokens, columns)
                .copy_from_slice(&values(tokens * columns, 668265263));
            let mut run = |matrix, bias, gate| {
                let mut out = vec![f32::NAN; rows * tokens];
                let to = SharedSlice::new(&mut out);
                let product = Product { matrix, bias, gate, inputs: &inputs, out: to };
                multiply(&pool, exact, &mut activations, &[product]);
                out
            };
            let clamped = Activation::ClampedSwiglu { limit: 1.0 };
            for (activation, gate_bias, bias) in [
                (clamped, Some(&gate_bias[..]), Some(&bias[..])),
                (clamped, None, Some(&bias[..])),
                (Activation::Silu, Some(&gate_bias[..]), None),
                (Activation::Silu, None, None),
            ] {
                let (gates, ups) = (run(gate, gate_bias, None), run(matrix, bias, None));
                let mut expected = vec![0.0; rows * tokens];
                activation.apply(&gates, &ups, &mut expected);
                let gated_by = Gate { matrix: gate, bias: gate_bias, activation };
                let found = run(matrix, bias, Some(gated_by));
                assert_eq!(found, expected, "{of_gate} {ty}, {tokens} tokens, exact {exact}");
            }
        }
    }
}

#[test]
fn bytes_that_are_no_matrix_are_refused() {
    let message = |ty, columns, rows, bytes: &[u8]| {
        Matrix::new(ty, columns, rows, bytes).err().unwrap().to_string()
    };
    assert_eq!(
        message(GgmlType::Q8_0, 33, 1, &[]),
        "33 columns are no multiple of q8_0's block of 32"
    );
    assert_eq!(
        message(GgmlType::Q8_0, 64, 2, &[0; 135]),
        "expected 136 bytes (2 rows of 64 q8_0), found 135"
    );
    assert!(message(GgmlType::F32, usize::MAX, usize::MAX, &[]).contains("expected"));
}

#[test]
fn a_product_that_is_told_to_stop_computes_no_other_row() {
    let (columns, rows) = (64, 10 * TASK_ROWS);
    let mut bytes = vec![0; columns * 4 * rows];
    ggml::quantize(GgmlType::F32, &vec![1.0; columns * rows], columns, None, &mut bytes).unwrap();
    let matrix = Matrix::new(GgmlType::F32, columns, rows, &bytes).unwrap();
    let inputs: Vec<u32> = (0..40).collect();
    let mut activations = Activations::default();
    activations.reset(inputs.len(), columns).fill(1.0);
    let mut out = vec![f32::NAN; rows * inputs.len()];
    let mut run = |threads: usize, asked: &(dyn Fn() -> bool + Sync)| {
        out.fill(f32::NAN);
        let shared = SharedSlice::new(&mut out);
        let product = Product { matrix, bias: None, gate: None, inputs: &inputs, out: shared };
        let pool = ThreadPool::new(threads).unwrap();
        let whole = multiply_while(&pool, false, &mut activations, &[product], asked);
        (whole, out.iter().filter(|x| !x.is_nan()).count() / inputs.len())
    };
    assert_eq!(run(2, &|| true), (true, rows));
    assert_eq!(run(2, &|| false), (false, 0));
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let (whole, computed) = run(1, &|| asked.fetch_add(1, Ordering::Relaxed) < 2);
    assert!(!whole && 0 < computed && computed < rows && computed % TASK_ROWS == 0, "{computed}");
    assert_eq!(asked.into_inner(), 3, "nobody asks again after a no");
}
