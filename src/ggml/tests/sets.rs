//! Every instruction set that the machine has, and vectors as arrays of either width, against the
//! scalar searches.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::ggml::dispatch::dispatch;
use crate::ggml::instruction_set::Work;
use crate::ggml::quantize::QuantizeRows;
use crate::simd::Portable;

/// Quantizes with everything that there is and compares the bytes with the scalar searches'.
fn agree(ty: GgmlType, x: &[f32], columns: usize, importance: Option<&[f32]>) {
    if importance.is_none() && needs_importance(ty) {
        return;
    }
    let bytes = x.len() / columns * ty.row_bytes(columns).unwrap();
    let mut sets = InstructionSet::available().into_iter();
    let mut expected = vec![0; bytes];
    let scalar = sets.next().unwrap();
    let result = quantize_with(scalar, ty, x, columns, importance, &mut expected);
    let compare = |name: &str, found: (Result<(), QuantizeError>, Vec<u8>)| {
        assert_eq!(found.0, result, "{ty} with {name}");
        if result.is_ok() {
            let first = found.1.iter().zip(&expected).position(|(f, e)| f != e);
            let row = first.map(|byte| byte / ty.row_bytes(columns).unwrap());
            let importance = importance.is_some();
            assert_eq!(first, None, "{ty} with {name}, row {row:?}, importance: {importance}");
        }
    };
    for set in sets {
        let mut found = vec![0; bytes];
        compare(set.name(), (quantize_with(set, ty, x, columns, importance, &mut found), found));
    }
    if result.is_ok() {
        every_set_gives_the_same_floats(ty, &expected);
    }
    dispatch!(ty, B => {
        let mut found = vec![0; bytes];
        let rows = QuantizeRows::<B>::new(x, columns, importance, &mut found);
        compare("8 portable lanes", (rows.run(Portable::<8>), found));
        let mut found = vec![0; bytes];
        let rows = QuantizeRows::<B>::new(x, columns, importance, &mut found);
        compare("16 portable lanes", (rows.run(Portable::<16>), found));
    });
}

/// Dequantizes with every set and compares the floats with the scalar ones.
fn every_set_gives_the_same_floats(ty: GgmlType, bytes: &[u8]) {
    let floats = |set| {
        let mut floats = vec![0.0f32; bytes.len() / ty.block_bytes() * ty.block_size()];
        dequantize_with(set, ty, bytes, &mut floats).unwrap();
        // Which NaN it is does not matter to anybody.
        floats.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect::<Vec<_>>()
    };
    let mut sets = InstructionSet::available().into_iter();
    let expected = floats(sets.next().unwrap());
    for set in sets {
        let first = floats(set).iter().zip(&expected).position(|(f, e)| f != e);
        assert_eq!(first, None, "{ty} with {set}: first differing float");
    }
}

#[test]
fn every_set_gives_the_same_bytes_for_the_vectors() {
    println!("compared: {:?}", InstructionSet::available());
    let file = std::fs::read(format!("{ORACLE}/quantize_vectors.safetensors")).unwrap();
    let vectors = SafeTensors::deserialize(&file).unwrap();
    let input = floats(vectors.tensor("input").unwrap().data());
    let importance = floats(vectors.tensor("importance").unwrap().data());
    for &ty in GgmlType::ALL {
        for columns in [1024, 256, 2560] {
            agree(ty, &input, columns, None);
            let weights: Vec<f32> = importance.iter().cycle().take(columns).copied().collect();
            agree(ty, &input, columns, Some(&weights));
        }
    }
}

#[test]
fn every_set_gives_the_same_bytes_for_rows_at_the_edges() {
    for &ty in GgmlType::ALL {
        for (_, row) in edges::edge_rows() {
            agree(ty, &row, 256, None);
            for weight in [0.0, 1e-30, 1.0] {
                agree(ty, &row, 256, Some(&[weight; 256]));
            }
        }
    }
}

/// The first zero decides on the sign of a minimum, the first of two magnitudes on that of a scale.
#[test]
fn every_set_gives_the_same_bytes_for_zeros_and_magnitudes_of_both_signs() {
    for values in [[0.0, -0.0, 0.0], [0.0, -0.0, 1.0], [-0.0, 0.0, -1.0], [2.5, -2.5, 0.1]] {
        for period in [1, 13, 37] {
            let row: Vec<f32> = (0..1280).map(|i| values[i / period % 3]).collect();
            for &ty in GgmlType::ALL {
                agree(ty, &row, 1280, None);
                agree(ty, &row, 1280, Some(&[1.0; 1280]));
            }
        }
    }
}

/// `q3_K`'s search goes on with the sub-blocks that changed: any number of them, wherever they are.
#[test]
fn every_set_gives_the_same_bytes_however_many_groups_change() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for blocks in 1..=100 {
        for largest in [1i16, 8, 500] {
            let mut weight = || f32::from(rng.random_range(-largest..=largest));
            let row: Vec<f32> = (0..blocks * 256).map(|_| weight()).collect();
            agree(GgmlType::Q3_K, &row, blocks * 256, None);
        }
    }
}

/// Activations go through functions of their own.
#[test]
fn every_set_quantizes_activations_alike() {
    let mut rows: Vec<Vec<f32>> = edges::edge_rows().into_iter().map(|(_, row)| row).collect();
    // The larger magnitudes in pairs of both signs: the first one decides.
    rows.push((0..256).map(|i| [3.5, -7.25, 7.25, 0.1][i * 7 % 4] * (i / 32) as f32).collect());
    for row in rows {
        let mut sets = InstructionSet::available().into_iter();
        let quantize = |set| {
            let mut blocks = vec![ActivationBlock::ZERO; ActivationBlock::count(row.len())];
            ActivationBlock::quantize_with(set, &row, &mut blocks);
            format!("{blocks:?}")
        };
        let expected = quantize(sets.next().unwrap());
        sets.for_each(|set| assert_eq!(quantize(set), expected, "{set}"));
    }
}

/// Rows of 1280 weights within what every type holds: of any sign and of magnitudes that differ by
/// up to 2^30, around any power of two from that of subnormals up.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let weight = (any::<bool>(), 0..0x80_0000u32, 0..30u32);
    (proptest::collection::vec(weight, 1280), 1..111u32).prop_map(|(weights, base)| {
        let value = |(negative, mantissa, exponent): (bool, u32, u32)| {
            f32::from_bits(u32::from(negative) << 31 | (base + exponent) << 23 | mantissa)
        };
        weights.into_iter().map(value).collect()
    })
}

/// The importance of 1280 columns, many of them of none at all.
fn importance() -> impl Strategy<Value = Option<Vec<f32>>> {
    let weight = prop_oneof![
        3 => Just(0.0f32),
        1 => Just(1e-30),
        3 => 0.0f32..1.0,
        1 => 0.0f32..1e6,
    ];
    proptest::option::of(proptest::collection::vec(weight, 1280))
}

proptest! {
    #[test]
    fn every_set_gives_the_same_floats_for_any_bytes(
        ty in properties::any_type(),
        bytes in proptest::collection::vec(any::<u8>(), 8 * 256),
    ) {
        let bytes = &bytes[..bytes.len() / ty.block_bytes() * ty.block_bytes()];
        every_set_gives_the_same_floats(ty, bytes);
    }

    #[test]
    fn every_set_gives_the_same_bytes_for_any_row(
        ty in properties::any_type(),
        row in rows(),
        importance in importance(),
    ) {
        agree(ty, &row, 1280, importance.as_deref());
    }

    #[test]
    fn every_set_gives_the_same_bytes_for_rows_of_ties(
        ty in properties::any_type(),
        row in proptest::collection::vec(-8i8..=8, 1280),
        scale in -40i32..20,
        importance in proptest::option::of(proptest::collection::vec(0u8..3, 1280)),
    ) {
        let row: Vec<f32> = row.iter().map(|&v| f32::from(v) * (scale as f32).exp2()).collect();
        let importance: Option<Vec<f32>> =
            importance.map(|all| all.iter().map(|&v| f32::from(v)).collect());
        agree(ty, &row, 1280, importance.as_deref());
    }
}
