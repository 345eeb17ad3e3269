//! Every type against the bytes and floats of llama.cpp's own functions, and against itself.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use super::*;

mod edges;
mod properties;
mod sets;

const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle");

/// Importance of as many columns, all the same, where the type needs one.
fn needed_importance(ty: GgmlType, columns: usize) -> Option<Vec<f32>> {
    needs_importance(ty).then(|| vec![1.0; columns])
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

#[test]
fn quantizes_to_the_bytes_of_the_reference() {
    assert_eq!(compare_vectors("quantize_vectors"), 36, "all vectors");
}

#[test]
fn quantizes_to_the_bytes_of_the_reference_where_most_columns_do_not_count() {
    assert_eq!(compare_vectors("sparse_importance"), 18, "all types that weigh columns");
}

/// Quantizes the input of a file of vectors to every type in it; answers with how many there were.
fn compare_vectors(name: &str) -> usize {
    let file = std::fs::read(format!("{ORACLE}/{name}.safetensors")).unwrap();
    let vectors = SafeTensors::deserialize(&file).unwrap();
    let input = floats(vectors.tensor("input").unwrap().data());
    let importance = floats(vectors.tensor("importance").unwrap().data());
    let columns = importance.len();
    let mut compared = 0;
    for (name, expected) in vectors.tensors() {
        let (name, importance) = match name.split_once('.') {
            Some((ty, "importance")) => (ty.to_owned(), Some(&importance[..])),
            _ => (name, None),
        };
        let Ok(ty) = name.parse::<GgmlType>() else { continue };
        let row_bytes = ty.row_bytes(columns).unwrap();
        let mut found = vec![0; expected.data().len()];
        quantize(ty, &input, columns, importance, &mut found).unwrap();
        for row in 0..input.len() / columns {
            let bytes = row * row_bytes..(row + 1) * row_bytes;
            let first =
                found[bytes.clone()].iter().zip(&expected.data()[bytes]).position(|(f, e)| f != e);
            let with = if importance.is_some() { "with" } else { "without" };
            assert_eq!(first, None, "{ty} {with} importance, row {row}: first differing byte");
        }
        compared += 1;
    }
    compared
}

#[test]
fn dequantizes_to_the_floats_of_the_reference() {
    let file = std::fs::read(format!("{ORACLE}/quantize_vectors.safetensors")).unwrap();
    let vectors = SafeTensors::deserialize(&file).unwrap();
    let digests = std::fs::read_to_string(format!("{ORACLE}/dequantize_sha256.json")).unwrap();
    let digests: BTreeMap<String, String> = serde_json::from_str(&digests).unwrap();
    let mut compared = 0;
    for (name, expected) in &digests {
        let ty: GgmlType = name.split('.').next().unwrap().parse().unwrap();
        let bytes = vectors.tensor(name).unwrap().data().to_vec();
        let mut values = vec![0.0; bytes.len() / ty.block_bytes() * ty.block_size()];
        dequantize(ty, &bytes, &mut values).unwrap();
        let mut hash = Sha256::new();
        values.iter().for_each(|v| hash.update(v.to_le_bytes()));
        assert_eq!(&hex::encode(hash.finalize()), expected, "{name}");
        assert_eq!(first_non_finite_block(ty, &bytes), None, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 36, "all digests");
}
