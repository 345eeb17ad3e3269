//! Good files read back as they were written; each kind of damage gets its own message.

use camino::Utf8PathBuf;

use super::*;
use crate::ggml::{GgmlType, OpaqueType, StoredType};
use crate::gguf::{Array, Layout, Name, Value};

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
    let tensors = vec![
        TensorInfo::new("one", GgmlType::F32, [3]),
        TensorInfo::new("two", GgmlType::MXFP4, [64, 2, 3]),
        TensorInfo::new("three", GgmlType::Q8_0, [32, 5]),
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
    out.extend(t.ggml_type.id().to_le_bytes());
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

    let mut bad_type = bytes.clone();
    patch(&mut bad_type, b"a.bool\x07\0\0\0", b"a.bool\x0d\0\0\0");
    assert!(message(&bad_type).contains("the type of a.bool: expected a value type from 0 to 12"));

    let mut nested = bytes.clone();
    patch(&mut nested, b"l.u32\x09\0\0\0\x04", b"l.u32\x09\0\0\0\x09");
    assert!(message(&nested).contains("arrays of arrays are not supported"));

    metadata.set("general.alignment", Value::U32(32));
    let mut bad_alignment = file_bytes(&metadata, &tensors);
    patch(&mut bad_alignment, b"general.alignment\x04\0\0\0 ", b"general.alignment\x04\0\0\0!");
    let error = message(&bad_alignment);
    assert!(error.contains("a power of two up to 2^20, found 33 (u32)"), "{error}");
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
    let odd = TensorInfo { shape: vec![65, 2, 3], ..two.clone() };
    assert!(change(odd, 32).contains("a multiple of 32 for mxfp4, found 65 columns"));
    let negative = TensorInfo { shape: vec![0, u64::MAX, 1], ..two.clone() };
    assert!(change(negative, 32).contains("below 2^63 bytes"));
    let huge = TensorInfo { shape: vec![1 << 30, 1 << 30, 1 << 30], ..two.clone() };
    assert!(change(huge, 32).contains("below 2^63 bytes"));
    let long = TensorInfo { shape: vec![64, 2, 1 << 20], ..two.clone() };
    assert!(change(long, 32).contains("truncated"));
    assert!(change(two.clone(), 33).contains("expected an offset that is a multiple of 32"));
    assert!(change(two.clone(), u64::MAX - 31).contains("ends below 2^63"));
    let overlap = change(two.clone(), 0);
    assert!(overlap.contains("tensor two: expected data after tensor one"), "{overlap}");
    let five = TensorInfo { shape: vec![32, 1, 1, 1, 1], ..two.clone() };
    let mut many = description(&five, 32);
    let error =
        message(&[&bytes[..8], &1u64.to_le_bytes(), &0u64.to_le_bytes(), &many[..]].concat());
    assert!(error.contains("expected at most 4 dimensions, found 5"), "{error}");
    // A type of which nothing is known has what there is up to the next tensor, but not nothing.
    let alone = TensorInfo::new("two", StoredType::Unknown(200), [32]);
    many = [&bytes[..8], &1u64.to_le_bytes(), &0u64.to_le_bytes(), &description(&alone, 0)[..]]
        .concat();
    many.resize(many.len().next_multiple_of(32), 0);
    assert!(message(&many).contains("truncated"));
    many.push(7);
    assert_eq!(open(&many).unwrap().data(0), [7]);
}

#[test]
fn text_that_is_no_utf8_and_odd_truth_values_are_read_shown_and_written_back() {
    let (mut metadata, mut tensors) = sample();
    let cut = "/home/модели".as_bytes()[..9].to_vec();
    metadata.set("cut", Value::RawString(cut.clone()));
    metadata.set("odd", Value::RawBool(0x80));
    metadata.set("odds", Value::Array(Array::RawBool(vec![0, 1, 2, 255])));
    let texts = vec![b"ok".to_vec(), b"\xff".to_vec(), b"".to_vec()];
    metadata.set("texts", Value::Array(Array::RawString(texts)));
    metadata.set(Name::from_bytes(b"key \xfe"), Value::U8(1));
    metadata.set(Name::from_bytes(b"key \xff"), Value::U8(2));
    tensors.push(TensorInfo::new(Name::from_bytes(b"na\xc3"), GgmlType::F32, [2]));
    tensors.push(TensorInfo::new("", GgmlType::F32, [2]));

    let bytes = file_bytes(&metadata, &tensors);
    let file = open(&bytes).unwrap();
    let found = TensorSource::metadata(&file);
    assert_eq!(found, &metadata);
    assert_eq!(file.tensors(), &tensors[..]);
    assert_eq!(file_bytes(found, file.tensors()), bytes, "the same bytes are written back");

    assert_eq!(found.bool("odd"), Some(true));
    assert_eq!(found.bool("a.bool"), Some(true));
    assert_eq!(found.str("cut"), None, "what is cut is no text to compute with");
    assert_eq!(found.value(&Name::from_bytes(b"key \xff")), Some(&Value::U8(2)));
    assert_eq!(found.get("key \u{fffd}"), None);
    assert_eq!(found.get("cut").unwrap().to_string(), "the string \"/home/м\u{fffd}\"");
    assert_eq!(file.find_bytes(b"na\xc3"), Some(3));
    assert_eq!(file.tensors()[3].name.as_str(), "na\u{fffd}");
}

#[test]
fn types_that_nothing_is_computed_with_are_listed() {
    let opaque = OpaqueType::ALL.iter().map(|&ty| {
        let columns = 2 * ty.block_size() as u64;
        TensorInfo::new(ty.name(), StoredType::Opaque(ty), [columns, 3])
    });
    let mut tensors: Vec<TensorInfo> = opaque.collect();
    // Of what comes next the file has so many bytes, and of a tensor without weights none.
    let next = TensorInfo::new("next", StoredType::Unknown(43), [64, 2]);
    tensors.push(TensorInfo { extent: 96, ..next.clone() });
    tensors.push(TensorInfo::new("empty", StoredType::Unknown(44), [64, 0]));
    tensors.push(TensorInfo::new("after", GgmlType::F32, [3]));
    tensors.push(TensorInfo { name: "last".into(), extent: 32, ..next });

    let bytes = file_bytes(&Metadata::default(), &tensors);
    let file = open(&bytes).unwrap();
    assert_eq!(file.tensors(), &tensors[..]);
    assert_eq!(file_bytes(TensorSource::metadata(&file), file.tensors()), bytes);
    for (i, info) in tensors.iter().enumerate() {
        let mut data = vec![0; info.bytes() as usize];
        file.read_rows(i, 0..info.rows(), &mut data).unwrap();
        assert_eq!(data, file.data(i), "{}", info.name);
        assert_eq!(info.computable().is_ok(), info.name == "after");
    }
    let (nvfp4, next) = (file.find("nvfp4").unwrap(), file.find("next").unwrap());
    assert_eq!(file.tensors()[nvfp4].bytes(), 2 * 3 * 36);
    assert_eq!(file.tensors()[next].elements(), 128);
    let error = file.tensors()[next].computable().unwrap_err().to_string();
    assert!(error.contains("tensor next is of type 43, with which nothing is computed"), "{error}");
}

#[test]
fn tensors_without_weights_and_any_alignment_are_read() {
    for alignment in [None, Some(1), Some(2), Some(1 << 20)] {
        let mut metadata = Metadata::default();
        if let Some(alignment) = alignment {
            metadata.set("general.alignment", Value::U32(alignment));
        }
        let shapes: [&[u64]; 6] =
            [&[0], &[3], &[0, 1 << 40, 1 << 40], &[5, 0], &[1], &[2, 3, 0, 7]];
        let tensors: Vec<TensorInfo> = (0..)
            .zip(shapes)
            .map(|(i, shape)| TensorInfo::new(format!("t{i}"), GgmlType::F32, shape))
            .collect();
        let file = open(&file_bytes(&metadata, &tensors)).unwrap();
        assert_eq!(file.tensors(), &tensors[..]);
        let lengths: Vec<_> = (0..6).map(|i| file.data(i).len()).collect();
        assert_eq!(lengths, [0, 12, 0, 0, 4, 0]);
        assert_eq!(tensors.iter().map(|t| t.elements()).sum::<u64>(), 4);
        assert_eq!(file.bits_per_weight(), 32.0);
        file.read_rows(2, 0..0, &mut []).unwrap();
    }
    // A tensor without dimensions is one weight.
    let scalar = TensorInfo { shape: Vec::new(), ..TensorInfo::new("s", GgmlType::F32, [1]) };
    let header =
        [&b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..], &description(&scalar, 0)];
    let mut bytes = header.concat();
    bytes.resize(bytes.len().next_multiple_of(32) + 4, 0);
    assert_eq!(open(&bytes).unwrap().tensors()[0].shape, [1]);
}

#[path = "outline_tests.rs"]
mod outline;
