//! Both formats by hand-made files, the arithmetic of llama-quantize, and every kind of damage.

use super::*;
use crate::ggml::GgmlType;
use crate::gguf::{Array, File, Layout, Metadata, TensorInfo, TensorSource, Value};

const NANO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle/nano.imatrix.gguf");

fn open(bytes: &[u8]) -> Result<Imatrix, Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(directory.path().join("imatrix")).unwrap();
    std::fs::write(&path, bytes).unwrap();
    Imatrix::open(&path)
}

fn message(bytes: &[u8]) -> String {
    open(bytes).unwrap_err().to_string()
}

fn all(matrix: &Imatrix, name: &str) -> Vec<f32> {
    let importance = matrix.get(name).unwrap();
    let mut values = Vec::new();
    importance.read(0, importance.len(), &mut values);
    values
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::default();
    let datasets = vec!["first.txt".to_owned(), "second.txt".to_owned()];
    metadata.set("imatrix.datasets", Value::Array(Array::String(datasets)));
    metadata.set("imatrix.chunk_count", Value::U32(7));
    metadata.set("imatrix.chunk_size", Value::U32(512));
    metadata
}

/// Names and values of tensors.
type Tensors<'a> = &'a [(&'a str, &'a [f32])];

/// A GGUF file of f32 tensors with one dimension each.
fn gguf(metadata: &Metadata, tensors: Tensors<'_>) -> Vec<u8> {
    let info = |(name, values): &(&str, &[f32])| {
        TensorInfo::new(*name, GgmlType::F32, [values.len() as u64])
    };
    let infos: Vec<TensorInfo> = tensors.iter().map(info).collect();
    let layout = Layout::new(metadata, &infos).unwrap();
    let mut bytes = layout.header().to_vec();
    for (_, values) in tensors {
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let padding = layout.padding(values.len() as u64 * 4);
        bytes.resize(bytes.len() + padding, 0);
    }
    bytes
}

/// A file of the older format with these entries; the chunks and the text's name if they are given.
fn older(entries: &[(&str, i32, &[f32])], trailer: Option<(i32, &str)>) -> Vec<u8> {
    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as i32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    let mut bytes = (entries.len() as i32).to_le_bytes().to_vec();
    for (name, calls, values) in entries {
        text(&mut bytes, name);
        bytes.extend(calls.to_le_bytes());
        bytes.extend((values.len() as i32).to_le_bytes());
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    if let Some((chunks, dataset)) = trailer {
        bytes.extend(chunks.to_le_bytes());
        text(&mut bytes, dataset);
    }
    bytes
}

#[test]
fn llama_imatrixs_own_file_reads() {
    let matrix = Imatrix::open(NANO).unwrap();
    matrix.check_values().unwrap();
    assert_eq!((matrix.names().len(), matrix.chunks()), (32, Some(20)));
    assert!(matrix.datasets()[0].ends_with("kjv.txt"));

    let file = File::open(NANO).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let bytes = file.data(file.find(name).unwrap());
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let name = "blk.3.ffn_down_exps.weight";
    let (sums, counts) = (values(&format!("{name}.in_sum2")), values(&format!("{name}.counts")));
    assert_eq!((sums.len(), counts.len()), (192 * 12, 12));
    let mut expert = Vec::new();
    for (number, count) in counts.iter().enumerate() {
        matrix.get(name).unwrap().read(number, 192, &mut expert);
        let expected: Vec<f32> =
            sums[number * 192..(number + 1) * 192].iter().map(|s| s / count).collect();
        assert_eq!(expert, expected, "{number}");
    }
}

#[test]
fn sums_are_divided_by_their_counts_and_what_was_not_measured_weighs_one() {
    let bytes = gguf(
        &metadata(),
        &[
            ("a.counts", &[2.0, 0.0, -1.0, 2.5]),
            ("a.in_sum2", &[2.0, 5.0, 7.0, 8.0, 9.0, 9.0, 9.0, 6.0]),
            ("b.in_sum2", &[1.0, 3.0]),
            ("b.in_sum", &[1.0, 3.0]),
            ("b.counts", &[3.0]),
            ("b.stats", &[0.0]),
        ],
    );
    let matrix = open(&bytes).unwrap();
    matrix.check_values().unwrap();
    assert_eq!(matrix.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((matrix.datasets()[0].as_str(), matrix.chunks()), ("first.txt", Some(7)));
    // Counts are rounded, half away from zero.
    assert_eq!(all(&matrix, "a"), [1.0, 2.5, 1.0, 1.0, 1.0, 1.0, 3.0, 2.0]);
    assert_eq!(all(&matrix, "b"), [1.0f32 / 3.0, 1.0]);
    assert!(matrix.get("c").is_none());
    let measured = |n| matrix.get("a").unwrap().is_measured(n, 2);
    assert_eq!([0, 1, 2, 3].map(measured), [true, false, false, true]);
    let mut second = vec![9.0];
    matrix.get("a").unwrap().read(3, 2, &mut second);
    assert_eq!(second, [3.0, 2.0]);
}

#[test]
fn sums_and_counts_there_are_none_of_are_refused() {
    for tensors in [
        [("a.in_sum2", &[][..]), ("a.counts", &[][..])],
        [("a.in_sum2", &[]), ("a.counts", &[1.0])],
        [("a.in_sum2", &[1.0]), ("a.counts", &[])],
    ] {
        let error = open(&gguf(&metadata(), &tensors)).unwrap_err().to_string();
        assert!(error.contains("a whole number of sums for each count"), "{error}");
    }
}

#[test]
fn the_older_format_is_divided_by_calls() {
    let entries: [(&str, i32, &[f32]); 3] =
        [("a", 4, &[2.0, 8.0]), ("b", 0, &[5.0]), ("c\0junk", -3, &[6.0])];
    let matrix = open(&older(&entries, Some((11, "text.txt\0more")))).unwrap();
    assert_eq!(matrix.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(all(&matrix, "a"), [0.5, 2.0]);
    assert_eq!((all(&matrix, "b"), all(&matrix, "c")), (vec![5.0], vec![6.0]));
    assert_eq!((matrix.datasets(), matrix.chunks()), (&["text.txt".to_owned()][..], Some(11)));

    let matrix = open(&older(&entries, None)).unwrap();
    assert_eq!((matrix.datasets(), matrix.chunks()), (&[][..], None));
    let again: [(&str, i32, &[f32]); 2] = [("a", 1, &[1.0]), ("a", 2, &[4.0, 6.0])];
    assert_eq!(all(&open(&older(&again, Some((-1, "")))).unwrap(), "a"), [2.0, 3.0]);
}

#[test]
fn values_that_weigh_nothing_sensible_are_named() {
    for (value, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (-1.0, "-1")] {
        let entries: [(&str, i32, &[f32]); 2] = [("a", 1, &[1.0]), ("b", 1, &[1.0, value])];
        let error = open(&older(&entries, None)).unwrap().check_values().unwrap_err();
        let expected = format!(
            "tensor b: expected an importance that is a finite number of at \
                                least 0, found {shown} as value 1"
        );
        assert!(error.to_string().contains(&expected), "{error}");
    }
    // Where nothing was measured the sums do not count.
    let bytes = gguf(&metadata(), &[("a.in_sum2", &[f32::NAN]), ("a.counts", &[0.0])]);
    open(&bytes).unwrap().check_values().unwrap();
}

#[test]
fn a_gguf_file_that_is_no_importance_matrix_says_why() {
    let mut other = metadata();
    other.remove("imatrix.chunk_size");
    let sums: [(&str, &[f32]); 2] = [("a.in_sum2", &[1.0]), ("a.counts", &[1.0])];
    assert!(message(&gguf(&other, &sums)).contains("without the key imatrix.chunk_size"));
    other = metadata();
    other.set("imatrix.chunk_count", Value::String("7".into()));
    assert!(message(&gguf(&other, &sums)).contains("imatrix.chunk_count that is no u32"));
    let cases: [(Tensors<'_>, &str); 7] = [
        (&[("a.stats", &[1.0])], "no tensor called NAME.in_sum2"),
        (&[("a.in_sum2", &[1.0])], "tensor a: expected a tensor .in_sum2 and a tensor .counts"),
        (&[("a.counts", &[1.0])], "found no .in_sum2"),
        (&[("a.in_sum", &[1.0])], "found no .counts"),
        (&[("a.in_sum2", &[1.0; 3]), ("a.counts", &[1.0; 2])], "found 3 sums and 2 counts"),
        (&[("a.in_sum2", &[1.0]), ("a.counts", &[f32::NAN])], "counts that are finite, found NaN"),
        (
            &[("a.in_sum", &[1.0; 2]), ("a.in_sum2", &[1.0]), ("a.counts", &[1.0])],
            "as many values in .in_sum as in .in_sum2, found 2 and 1",
        ),
    ];
    for (tensors, expected) in cases {
        let error = message(&gguf(&metadata(), tensors));
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn damage_to_the_older_format_is_an_error_and_never_a_panic() {
    let entries: [(&str, i32, &[f32]); 2] = [("first", 4, &[2.0, 8.0]), ("second", 2, &[5.0])];
    let bytes = older(&entries, Some((11, "text")));
    let without_trailer = older(&entries, None).len();
    for n in 0..bytes.len() {
        // Files that end behind the entries, or behind the number of chunks, are whole.
        let whole = n == without_trailer || n == without_trailer + 4;
        assert_eq!(open(&bytes[..n]).is_ok(), whole, "{n} bytes");
    }
    for at in 0..bytes.len() {
        for value in [0, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Ok(matrix) = open(&damaged) {
                let _ = matrix.check_values();
            }
        }
    }
    // Lengths beyond the file are refused before anything is allocated for them.
    let mut hostile = bytes.clone();
    hostile[..4].copy_from_slice(&i32::MAX.to_le_bytes());
    assert!(message(&hostile).contains("read as an importance matrix"), "{}", message(&hostile));
    hostile[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
    let error = message(&hostile);
    assert!(
        error.contains("the name of a tensor") && error.contains("2147483647 bytes"),
        "{error}"
    );
    hostile[..4].copy_from_slice(&(-1i32).to_le_bytes());
    assert!(message(&hostile).contains("expected at least 1, found -1"), "{}", message(&hostile));
}
