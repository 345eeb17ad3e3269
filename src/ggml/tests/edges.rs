//! Rows at the edges of what floats are, and calls that make no sense.

use super::*;
use crate::ggml::block::F16_MAX;

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

/// How far the worst weight of an edge row is off, as a share of the row's largest, in the
/// reference's bytes as in ours.
fn share_lost(ty: GgmlType, row: &str) -> f32 {
    use GgmlType::*;
    match (ty, row) {
        // Sub-blocks of zeros next to others become something in the first; in the second they move
        // the levels of the sub-blocks behind them.
        (IQ1_M | IQ3_S, "one spike") => 1.12,
        (IQ2_XXS, _) => 0.71,
        (IQ1_M, _) => 0.61,
        (TQ1_0 | TQ2_0, _) => 0.5,
        // Two bits keep a third of the largest value.
        _ => 0.34,
    }
}

#[test]
pub fn edge_rows_come_back_near_what_they_were() {
    for &ty in GgmlType::ALL {
        let importance = needed_importance(ty, 256);
        for (name, row) in edge_rows() {
            let mut bytes = vec![0; ty.row_bytes(256).unwrap()];
            quantize(ty, &row, 256, importance.as_deref(), &mut bytes).unwrap();
            let mut back = vec![0.0; 256];
            dequantize(ty, &bytes, &mut back).unwrap();
            let amax = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            // Half-precision scales end at 6e-8.
            let bound = amax * share_lost(ty, name) + 4e-6;
            for (i, (x, y)) in row.iter().zip(&back).enumerate() {
                assert!((x - y).abs() <= bound, "{ty}, {name}, {i}: {x:e} became {y:e}");
            }
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for &ty in GgmlType::ALL {
        let importance = needed_importance(ty, 256);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut rows = vec![0.5; 3 * 256];
            rows[2 * 256 + 255] = value;
            let mut bytes = vec![0; 3 * ty.row_bytes(256).unwrap()];
            let error = quantize(ty, &rows, 256, importance.as_deref(), &mut bytes).unwrap_err();
            let expected = format!("row 2, column 255 is {value}; expected finite weights");
            assert_eq!(error.to_string(), expected, "{ty}");
        }
    }
}

#[test]
fn weights_beyond_the_scales_are_refused() {
    // MXFP4's exponent reaches as far as that of floats.
    let unbounded = [GgmlType::F32, GgmlType::BF16, GgmlType::MXFP4];
    for &ty in GgmlType::ALL.iter().filter(|ty| !unbounded.contains(ty)) {
        for value in [1e9, 1e25, 3e38] {
            let mut row = vec![0.0; 256];
            (row[3], row[200]) = (1.0, -value);
            for importance in [None, Some(&[1.0; 256][..])] {
                if importance.is_none() && needs_importance(ty) {
                    continue;
                }
                let mut bytes = vec![0; ty.row_bytes(256).unwrap()];
                let error = quantize(ty, &row, 256, importance, &mut bytes).unwrap_err();
                assert_eq!(error, QuantizeError::OutOfRange { ty, row: 0, largest: value });
            }
        }
    }
}

#[test]
fn weights_as_large_as_a_scale_stay_finite() {
    // Some types do not look at their blocks up to there.
    let row: Vec<f32> = (0..256).map(|i| if i % 2 == 0 { F16_MAX } else { -F16_MAX }).collect();
    for &ty in GgmlType::ALL.iter().filter(|&&ty| !needs_importance(ty)) {
        let mut bytes = vec![0; ty.row_bytes(256).unwrap()];
        quantize(ty, &row, 256, None, &mut bytes).unwrap();
        assert_eq!(first_non_finite_block(ty, &bytes), None, "{ty}");
    }
}

#[test]
fn errors_are_about_whole_rows() {
    // Without importance weights are taken in pieces, of which a row has several or a part.
    let (ty, columns) = (GgmlType::Q4_0, 1536);
    let error = |at: &[(usize, f32)]| {
        let mut rows = vec![0.5; 3 * columns];
        for &(i, value) in at {
            rows[i] = value;
        }
        let mut bytes = vec![0; 3 * ty.row_bytes(columns).unwrap()];
        quantize(ty, &rows, columns, None, &mut bytes).unwrap_err()
    };
    let too_large = |row, largest| QuantizeError::OutOfRange { ty, row, largest };
    assert_eq!(error(&[(columns, 1e9), (columns + 1400, -2e9)]), too_large(1, 2e9));
    assert_eq!(error(&[(3 * columns - 1, 1e9)]), too_large(2, 1e9));
    let not_finite = QuantizeError::NotFinite { row: 0, column: 1400, value: f32::INFINITY };
    assert_eq!(error(&[(0, 1e9), (1400, f32::INFINITY), (1600, f32::INFINITY)]), not_finite);
    // Two rows and more in a piece.
    let mut rows = vec![0.5; 3 * 256];
    (rows[256], rows[512]) = (1e9, f32::INFINITY);
    let mut bytes = vec![0; 3 * ty.row_bytes(256).unwrap()];
    assert_eq!(quantize(ty, &rows, 256, None, &mut bytes).unwrap_err(), too_large(1, 1e9));
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
fn types_that_need_importance_say_so() {
    let needing: Vec<GgmlType> =
        GgmlType::ALL.iter().copied().filter(|&ty| needs_importance(ty)).collect();
    assert_eq!(needing, [GgmlType::IQ2_XXS, GgmlType::IQ2_XS, GgmlType::IQ1_S]);
    for ty in needing {
        let mut bytes = vec![0; ty.block_bytes()];
        let error = quantize(ty, &[0.5; 256], 256, None, &mut bytes).unwrap_err();
        assert_eq!(error, QuantizeError::NeedsImportance(ty));
        assert!(error.to_string().contains("without an importance matrix"), "{error}");
    }
}
