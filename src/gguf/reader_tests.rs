//! Good files read back as they were written; each kind of damage gets its own message.

use camino::Utf8PathBuf;

use super::*;
use crate::ggml::GgmlType;
use crate::gguf::{Array, Layout, Value};

const ORACLE_IMATRIX: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle/nano.imatrix.gguf");

fn sample() -> (Metadata, Vec<TensorInfo>) {
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", Value::String("gpt-oss".into()));
    metadata.set("a.u8", Value::U8(200));
    metadata.set("a.i8", Value::I8(-3));
    metadata.set("a.u16", Value::U16(60000));
    metadata.set("a.i16", Value::I16(-300));
    metadata.set("a.u32", Value::U32(4_000_000_000));
    metadata.set("a.i32", Value::I32(-70000));
    metadata.set("a.f32", Value::F32(1e-5));
    metadata.set("a.bool", Value::Bool(true));
    metadata.set("a.u64", Value::U64(u64::MAX));
    metadata.set("a.i64", Value::I64(i64::MIN));
    metadata.set("a.f64", Value::F64(0.1));
    metadata.set("l.u8", Value::Array(Array::U8(vec![1, 2])));
    metadata.set("l.i8", Value::Array(Array::I8(vec![-1])));
    metadata.set("l.u16", Value::Array(Array::U16(vec![])));
    metadata.set("l.i16", Value::Array(Array::I16(vec![-5, 6])));
    metadata.set("l.u32", Value::Array(Array::U32(vec![7])));
    metadata.set("l.i32", Value::Array(Array::I32(vec![-8])));
    metadata.set("l.f32", Value::Array(Array::F32(vec![0.5])));
    metadata.set("l.bool", Value::Array(Array::Bool(vec![true, false])));
    metadata.set("l.string", Value::Array(Array::String(vec!["Ġthe".into(), String::new()])));
    metadata.set("l.u64", Value::Array(Array::U64(vec![9])));
    metadata.set("l.i64", Value::Array(Array::I64(vec![-9])));
    metadata.set("l.f64", Value::Array(Array::F64(vec![2.5])));
    let tensor = |name: &str, ggml_type, shape: &[u64]| TensorInfo {
        name: name.into(),
        ggml_type,
        shape: shape.to_vec(),
    };
    let tensors = vec![
        tensor("one", GgmlType::F32, &[3]),
        tensor("two", GgmlType::MXFP4, &[64, 2, 3]),
        tensor("three", GgmlType::Q8_0, &[32, 5]),
    ];
    (metadata, tensors)
}

/// The bytes of a file; the data of tensor `i` is all `i + 1`.
fn file_bytes(metadata: &Metadata, tensors: &[TensorInfo]) -> Vec<u8> {
    let layout = Layout::new(metadata, tensors).unwrap();
    let mut bytes = layout.header().to_vec();
    for (i, t) in tensors.iter().enumerate() {
        assert_eq!(bytes.len() as u64, layout.offset(i));
        bytes.resize(bytes.len() + t.bytes() as usize, i as u8 + 1);
        bytes.resize(bytes.len() + layout.padding(t.bytes()), 0);
    }
    assert_eq!(bytes.len() as u64, layout.file_bytes());
    bytes
}

fn open(bytes: &[u8]) -> Result<File, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().join("x.gguf")).unwrap();
    std::fs::write(&path, bytes).unwrap();
    File::open(&path)
}

fn message(bytes: &[u8]) -> String {
    open(bytes).unwrap_err().to_string()
}

/// Replaces the only occurrence of `from`.
fn patch(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let found: Vec<_> =
        (0..=bytes.len() - from.len()).filter(|&i| bytes[i..].starts_with(from)).collect();
    assert_eq!(found.len(), 1, "{from:?} occurs {} times", found.len());
    bytes[found[0]..found[0] + to.len()].copy_from_slice(to);
}

/// Name, dimensions, type and offset as the header stores them.
fn description(t: &TensorInfo, offset: u64) -> Vec<u8> {
    let mut out = (t.name.len() as u64).to_le_bytes().to_vec();
    out.extend(t.name.as_bytes());
    out.extend((t.shape.len() as u32).to_le_bytes());
    out.extend(t.shape.iter().flat_map(|d| d.to_le_bytes()));
    out.extend((t.ggml_type as u32).to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

#[test]
fn what_is_written_reads_back() {
    let (metadata, tensors) = sample();
    let file = open(&file_bytes(&metadata, &tensors)).unwrap();
    assert_eq!(TensorSource::metadata(&file), &metadata);
    assert_eq!(file.tensors(), &tensors[..]);
    for (i, t) in tensors.iter().enumerate() {
        assert_eq!(file.data(i), vec![i as u8 + 1; t.bytes() as usize]);
        assert_eq!(file.find(&t.name), Some(i));
        assert_eq!(file.range(i).start as u64 % file.alignment(), 0);
        file.release(i, 0..t.rows());
        file.forget(i, 0..t.rows());
        assert_eq!(file.data(i).len() as u64, t.bytes());
    }
    let mut rows = [0; 68];
    file.read_rows(2, 1..3, &mut rows).unwrap();
    assert_eq!(rows, [3; 68]);
    let error = file.read_rows(2, 4..6, &mut rows).unwrap_err().to_string();
    assert!(error.contains("it has 5 rows of 34 bytes"), "{error}");
}

#[test]
fn a_file_of_llama_cpp_reads() {
    let file = File::open(ORACLE_IMATRIX).unwrap();
    assert_eq!(TensorSource::metadata(&file).str("general.type"), Some("imatrix"));
    assert!(file.tensors().len() > 10);
}

#[test]
fn every_truncation_is_an_error_and_never_a_panic() {
    let (metadata, tensors) = sample();
    let bytes = file_bytes(&metadata, &tensors);
    // The padding after the last tensor may be missing, nothing else.
    let needed = bytes.len() - 22;
    for n in 0..needed {
        let error = message(&bytes[..n]);
        if n >= 4 {
            assert!(
                error.contains(&format!("it is {n} bytes long")) || error.contains("at most"),
                "{n}: {error}"
            );
        }
    }
    assert!(message(&bytes[..needed - 1]).contains(&format!("its header says {needed}")));
    open(&bytes[..needed]).unwrap();
}

#[test]
fn every_changed_byte_is_read_or_refused_without_a_panic() {
    let (metadata, tensors) = sample();
    let bytes = file_bytes(&metadata, &tensors);
    let header = Layout::new(&metadata, &tensors).unwrap().header().len();
    for i in 0..header {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[i] = value;
            let _ = open(&changed);
        }
    }
}

#[test]
fn not_gguf() {
    assert!(message(b"").contains("found an empty file"));
    assert!(message(b"PK\x03\x04 and so on").contains("found \"PK\\x03\\x04\""));
    assert!(message(b"GGUF\x01\0\0\0").contains("version 1; expected 2 or 3"));
    assert!(message(b"GGUF\0\0\0\x03").contains("big-endian"));
    assert!(File::open("/nonexistent/x.gguf").unwrap_err().to_string().contains("cannot open"));
    assert!(File::open("/").unwrap_err().to_string().contains("directory"));
}

#[test]
fn counts_beyond_the_file() {
    let (metadata, tensors) = sample();
    let bytes = file_bytes(&metadata, &tensors);
    let mut many_tensors = bytes.clone();
    many_tensors[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(message(&many_tensors).contains("the number of tensors: expected at most"));
    let mut many_pairs = bytes.clone();
    many_pairs[16..24].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(message(&many_pairs).contains("the number of metadata pairs: expected at most"));
}

#[test]
fn metadata_damage() {
    let (mut metadata, tensors) = sample();
    let bytes = file_bytes(&metadata, &tensors);

    let mut duplicate = bytes.clone();
    patch(&mut duplicate, b"a.u16", b"a.i16");
    assert!(message(&duplicate).contains("expected every key once, found a.i16 again"));

    let mut not_text = bytes.clone();
    patch(&mut not_text, b"a.f64", b"a.\xff64");
    assert!(message(&not_text).contains("expected UTF-8 text, found byte 0xff at position 2"));

    let mut bad_bool = bytes.clone();
    patch(&mut bad_bool, b"a.bool\x07\0\0\0\x01", b"a.bool\x07\0\0\0\x02");
    assert!(message(&bad_bool).contains("a truth value of a.bool: expected 0 or 1, found 2"));

    let mut bad_type = bytes.clone();
    patch(&mut bad_type, b"a.bool\x07\0\0\0", b"a.bool\x0d\0\0\0");
    assert!(message(&bad_type).contains("the type of a.bool: expected a value type from 0 to 12"));

    let mut nested = bytes.clone();
    patch(&mut nested, b"l.u32\x09\0\0\0\x04", b"l.u32\x09\0\0\0\x09");
    assert!(message(&nested).contains("arrays of arrays are not supported"));

    metadata.set("general.alignment", Value::U32(32));
    let mut bad_alignment = file_bytes(&metadata, &tensors);
    patch(&mut bad_alignment, b"general.alignment\x04\0\0\0 ", b"general.alignment\x04\0\0\0!");
    assert!(message(&bad_alignment).contains("power of two"));
}

#[test]
fn tensor_damage() {
    let (metadata, tensors) = sample();
    let bytes = file_bytes(&metadata, &tensors);
    let change = |new: TensorInfo, offset: u64| {
        let mut changed = bytes.clone();
        patch(&mut changed, &description(&tensors[1], 32), &description(&new, offset));
        message(&changed)
    };
    let two = &tensors[1];

    let twice = TensorInfo { name: "one".into(), ..two.clone() };
    assert!(change(twice, 32).contains("found one again"));
    let empty = TensorInfo { shape: vec![64, 0, 3], ..two.clone() };
    assert!(change(empty, 32).contains("expected dimensions of at least 1"));
    let odd = TensorInfo { shape: vec![65, 2, 3], ..two.clone() };
    assert!(change(odd, 32).contains("a multiple of 32 for mxfp4, found 65 columns"));
    let huge = TensorInfo { shape: vec![1 << 30, 1 << 30, 1 << 30], ..two.clone() };
    assert!(change(huge, 32).contains("below 2^63 bytes"));
    let long = TensorInfo { shape: vec![64, 2, 1 << 20], ..two.clone() };
    assert!(change(long, 32).contains("truncated"));
    assert!(change(two.clone(), 33).contains("expected an offset that is a multiple of 32"));
    assert!(change(two.clone(), u64::MAX - 31).contains("ends below 2^63"));
    let overlap = change(two.clone(), 0);
    assert!(overlap.contains("tensor two: expected data after tensor one"), "{overlap}");

    let mut unknown = bytes.clone();
    let mut changed = description(two, 32);
    let at = changed.len() - 12;
    changed[at] = 200;
    patch(&mut unknown, &description(two, 32), &changed);
    assert!(message(&unknown).contains("39 mxfp4), found type 200"));
}
