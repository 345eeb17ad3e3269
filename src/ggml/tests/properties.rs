//! What holds for any weights and any bytes.

use proptest::prelude::*;

use super::*;

/// The dot product by way of floats, and how far 8-bit activations may lead from it.
fn float_dot(weights: &[f32], activations: &[f32]) -> (f32, f32) {
    let (mut sum, mut slack) = (0.0f64, 0.0f64);
    for (w, a) in weights.chunks(32).zip(activations.chunks(32)) {
        let amax = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (w, a) in w.iter().zip(a) {
            sum += f64::from(*w) * f64::from(*a);
            // Half a step of 1/127, and the sum's own rounding.
            slack += f64::from(w.abs()) * f64::from(amax) * (0.5 / 127.0 + 1e-5);
        }
    }
    (sum as f32, slack as f32 + 1e-6)
}

/// The product of a row of quantized weights; floats have none.
fn row_dot(ty: GgmlType, bytes: &[u8], activations: &[f32]) -> Option<f32> {
    let kernel = RowKernel::new(ty)?;
    let mut blocks = vec![ActivationBlock::ZERO; ActivationBlock::count(activations.len())];
    ActivationBlock::quantize(activations, &mut blocks);
    let mut product = [0.0];
    kernel.dot_rows(bytes, &blocks, &mut product);
    Some(product[0])
}

pub fn any_type() -> impl Strategy<Value = GgmlType> {
    proptest::sample::select(GgmlType::ALL)
}

proptest! {
    #[test]
    fn any_finite_row_is_quantized_or_refused(
        ty in any_type(),
        row in proptest::collection::vec(
            any::<f32>().prop_filter("finite", |x| x.is_finite()), 512),
        importance in proptest::option::of(proptest::collection::vec(0.0f32..1e6, 512)),
    ) {
        let importance = importance.or_else(|| needed_importance(ty, 512));
        let mut bytes = vec![0; ty.row_bytes(512).unwrap()];
        let mut back = vec![0.0; 512];
        match quantize(ty, &row, 512, importance.as_deref(), &mut bytes) {
            Ok(()) => {
                dequantize(ty, &bytes, &mut back).unwrap();
                prop_assert!(back.iter().all(|x| x.is_finite()));
            }
            Err(QuantizeError::OutOfRange { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn any_bytes_are_dequantized_and_multiplied(
        ty in any_type(),
        bytes in proptest::collection::vec(any::<u8>(), 1024),
    ) {
        let bytes = &bytes[..ty.row_bytes(256).unwrap()];
        let mut back = vec![0.0; 256];
        dequantize(ty, bytes, &mut back).unwrap();
        let finite = back.iter().all(|x| x.is_finite());
        let bad_block = first_non_finite_block(ty, bytes);
        // MXFP4 has a NaN that dequantizes to a large number.
        prop_assert!(finite || bad_block.is_some());
        prop_assert!(!finite || bad_block.is_none() || ty == GgmlType::MXFP4);
        let Some(dot) = row_dot(ty, bytes, &[1.0; 256]) else { return Ok(()) };
        let magnitude: f64 = back.iter().map(|x| f64::from(x.abs())).sum();
        prop_assert!(dot.is_finite() || !finite || magnitude > 1e37, "{ty}: {dot}");
    }

    #[test]
    fn dot_products_are_near_those_of_floats(
        ty in any_type(),
        weights in proptest::collection::vec(-2.0f32..2.0, 768),
        activations in proptest::collection::vec(-30.0f32..30.0, 768),
    ) {
        let mut bytes = vec![0; ty.row_bytes(768).unwrap()];
        quantize(ty, &weights, 768, needed_importance(ty, 768).as_deref(), &mut bytes).unwrap();
        let mut weights = weights;
        dequantize(ty, &bytes, &mut weights).unwrap();
        let (expected, slack) = float_dot(&weights, &activations);
        let Some(found) = row_dot(ty, &bytes, &activations) else { return Ok(()) };
        prop_assert!((found - expected).abs() <= slack, "{ty}: {found} for {expected}");
    }
}
