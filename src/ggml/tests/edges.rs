//! Rows at the edges of what floats are, and calls that make no sense.

use super::*;

/// Rows at the edges of what floats are, 256 weights each.
pub fn edge_rows() -> Vec<(&'static str, Vec<f32>)> {
    let ramp = |scale: f32| (0..256).map(|i| (i as f32 - 100.0) * scale).collect::<Vec<_>>();
    let mut spike = vec![0.0; 256];
    spike[77] = -3.5;
    vec![
        ("zero", vec![0.0; 256]),
        ("minus zero", vec![-0.0; 256]),
        ("one", vec![1.0; 256]),
        ("minus one", vec![-1.0; 256]),
        ("one spike", spike),
        ("tiny", ramp(1e-12)),
        ("smallest normals", ramp(f32::MIN_POSITIVE)),
        ("subnormal", ramp(1e-42)),
        ("large", ramp(100.0)),
    ]
}

#[test]
pub fn edge_rows_come_back_near_what_they_were() {
    for ty in supported() {
        for (name, row) in edge_rows() {
            let mut bytes = vec![0; ty.row_bytes(256).unwrap()];
            quantize(ty, &row, 256, None, &mut bytes).unwrap();
            let mut back = vec![0.0; 256];
            dequantize(ty, &bytes, &mut back).unwrap();
            let amax = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            // Two bits keep a third of the largest value; half-precision scales end at 6e-8.
            let bound = amax * 0.34 + 4e-6;
            for (i, (x, y)) in row.iter().zip(&back).enumerate() {
                assert!((x - y).abs() <= bound, "{ty}, {name}, {i}: {x:e} became {y:e}");
            }
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for ty in supported() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut rows = vec![0.5; 3 * 256];
            rows[2 * 256 + 255] = value;
            let mut bytes = vec![0; 3 * ty.row_bytes(256).unwrap()];
            let error = quantize(ty, &rows, 256, None, &mut bytes).unwrap_err();
            let expected = format!("row 2, column 255 is {value}; expected finite weights");
            assert_eq!(error.to_string(), expected, "{ty}");
        }
    }
}

#[test]
fn weights_beyond_the_scales_are_refused() {
    // MXFP4's exponent reaches as far as that of floats.
    let unbounded = [GgmlType::F32, GgmlType::BF16, GgmlType::MXFP4];
    for ty in supported().filter(|ty| !unbounded.contains(ty)) {
        for value in [1e9, 1e25, 3e38] {
            let mut row = vec![0.0; 256];
            (row[3], row[200]) = (1.0, -value);
            for importance in [None, Some(&[1.0; 256][..])] {
                let mut bytes = vec![0; ty.row_bytes(256).unwrap()];
                let error = quantize(ty, &row, 256, importance, &mut bytes).unwrap_err();
                assert_eq!(error, QuantizeError::OutOfRange { ty, row: 0, largest: value });
            }
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let (ty, row) = (GgmlType::Q4_0, [0.0; 64]);
    let error = |columns, importance, bytes| {
        quantize(ty, &row, columns, importance, &mut vec![0; bytes]).unwrap_err()
    };
    assert_eq!(error(33, None, 36), QuantizeError::Columns { ty, columns: 33 });
    assert_eq!(error(0, None, 36), QuantizeError::Columns { ty, columns: 0 });
    assert!(matches!(error(64, None, 35), QuantizeError::Length { expected: 36, found: 35, .. }));
    assert!(matches!(error(96, None, 36), QuantizeError::Length { expected: 0, .. }));
    let found = 32;
    let wrong = QuantizeError::ImportanceLength { columns: 64, found };
    assert_eq!(error(64, Some(&[1.0; 32]), 36), wrong);
    let mut importance = [1.0; 64];
    importance[5] = -1.0;
    let wrong = QuantizeError::BadImportance { column: 5, value: -1.0 };
    assert_eq!(error(64, Some(&importance), 36), wrong);
    let wrong = DequantizeError::Length { ty, bytes: 35, values: 64 };
    assert_eq!(dequantize(ty, &[0; 35], &mut [0.0; 64]), Err(wrong));
}

#[test]
fn types_that_cannot_be_computed_with_yet_are_named() {
    let ty = GgmlType::IQ2_XS;
    let unsupported = UnsupportedType(ty);
    let mut bytes = vec![0; ty.block_bytes()];
    let error = quantize(ty, &[0.0; 256], 256, None, &mut bytes).unwrap_err();
    assert_eq!(error, QuantizeError::Unsupported(unsupported));
    let error = dequantize(ty, &bytes, &mut [0.0; 256]).unwrap_err();
    assert_eq!(error, DequantizeError::Unsupported(unsupported));
    assert!(Kernel::new(ty).is_err());
    assert!(error.to_string().contains("iq2_xs is not supported yet"), "{error}");
}
