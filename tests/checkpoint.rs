//! The checkpoint as a GGUF file, against what llama.cpp's converter makes of it
//! (`tests/fixtures/oracle`), in both layouts, in shards, and with plain experts; and damaged
//! checkpoints, each with its message.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use half::bf16;
use qrun::checkpoint::{Checkpoint, Converted};
use qrun::ggml::{self, GgmlType};
use qrun::gguf::{Array, TensorSource, Value};
use qrun::tokenizer::Vocabulary;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn nano() -> Utf8PathBuf {
    Utf8Path::new(FIXTURES).join("gpt-oss-nano")
}

fn oracle(name: &str) -> Json {
    let text = fs::read_to_string(Utf8Path::new(FIXTURES).join("oracle").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn converted(directory: &Utf8Path, dtype: GgmlType) -> Result<Converted, String> {
    let checkpoint = Checkpoint::open(directory).map_err(|e| e.to_string())?;
    let vocabulary = Vocabulary::from_directory(&nano(), checkpoint.config().vocab).unwrap();
    Converted::new(checkpoint, vocabulary.into_metadata(), dtype).map_err(|e| e.to_string())
}

/// The whole tensor, read in uneven pieces.
fn read(source: &dyn TensorSource, tensor: usize) -> Vec<u8> {
    let info = &source.tensors()[tensor];
    let mut out = vec![0; info.bytes() as usize];
    let mut row = 0;
    for chunk in out.chunks_mut(info.row_bytes() * 7 + info.row_bytes() * (tensor % 3)) {
        let rows = chunk.len() / info.row_bytes();
        source.read_rows(tensor, row..row + rows, chunk).unwrap();
        row += rows;
    }
    if let Some(bytes) = source.bytes(tensor) {
        assert_eq!(bytes, out, "{} in place", info.name);
    }
    out
}

fn describe(source: &dyn TensorSource) -> BTreeMap<String, (String, Vec<u64>, String)> {
    let one = |(i, t): (usize, &qrun::gguf::TensorInfo)| {
        let sha256 = hex::encode(Sha256::digest(read(source, i)));
        (t.name.to_string(), (t.ggml_type.name().to_uppercase(), t.shape.clone(), sha256))
    };
    source.tensors().iter().enumerate().map(one).collect()
}

#[test]
fn every_tensor_is_that_of_llama_cpp_in_both_layouts() {
    let expected = oracle("tensors.json");
    for (name, dtype) in [("f32", GgmlType::F32), ("f16", GgmlType::F16), ("bf16", GgmlType::BF16)]
    {
        let expected: BTreeMap<String, (String, Vec<u64>, String)> =
            serde_json::from_value(expected["convert"][name].clone()).unwrap();
        assert_eq!(expected.len(), 79);
        for directory in [nano(), nano().join("original")] {
            let found = describe(&converted(&directory, dtype).unwrap());
            assert_eq!(found, expected, "{directory} as {name}");
        }
    }
}

fn value_json(value: &Value) -> Json {
    fn list<T: Clone + Into<Json>>(kind: &str, v: &[T]) -> Json {
        let ends = |v: &[T]| -> Vec<Json> { v.iter().cloned().map(Into::into).collect() };
        serde_json::json!({"type": ["ARRAY", kind], "value": {
            "length": v.len(), "first": ends(&v[..4]), "last": ends(&v[v.len() - 4..]),
        }})
    }
    match value {
        Value::U32(v) => serde_json::json!({"type": ["UINT32"], "value": v}),
        Value::F32(v) => serde_json::json!({"type": ["FLOAT32"], "value": f64::from(*v)}),
        Value::String(v) => serde_json::json!({"type": ["STRING"], "value": v}),
        Value::Array(Array::String(v)) => list("STRING", v),
        Value::Array(Array::I32(v)) => list("INT32", v),
        other => panic!("the oracle has no {other:?}"),
    }
}

#[test]
fn metadata_is_that_of_llama_cpp_in_order() {
    let text = fs::read_to_string(format!("{FIXTURES}/oracle/metadata_f32.json")).unwrap();
    let expected: serde_json::Map<String, Json> = serde_json::from_str(&text).unwrap();
    let source = converted(&nano(), GgmlType::F32).unwrap();
    for (key, value) in source.metadata().iter() {
        assert_eq!(value_json(value), expected[key], "{key}");
    }
    // serde_json sorts keys; the text keeps the file's order.
    let mut at = 0;
    for (key, _) in source.metadata().iter() {
        let found = text[at..].find(&format!("\"{key}\":"));
        at += found.unwrap_or_else(|| panic!("{key} is not after the one before it"));
    }
    assert_eq!(source.metadata().iter().len(), expected.len());
}

#[test]
fn tensors_are_in_the_order_of_llama_cpp() {
    let source = converted(&nano(), GgmlType::F32).unwrap();
    let names: Vec<&str> = source.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(
        &names[..4],
        [
            "blk.0.ffn_down_exps.weight",
            "blk.0.ffn_gate_exps.weight",
            "blk.0.ffn_up_exps.weight",
            "blk.1.ffn_down_exps.weight",
        ]
    );
    assert_eq!(
        &names[12..20],
        [
            "output.weight",
            "token_embd.weight",
            "blk.0.attn_norm.weight",
            "blk.0.ffn_down_exps.bias",
            "blk.0.ffn_gate_exps.bias",
            "blk.0.ffn_up_exps.bias",
            "blk.0.ffn_gate_inp.bias",
            "blk.0.ffn_gate_inp.weight",
        ]
    );
    let original = converted(&nano().join("original"), GgmlType::F32).unwrap();
    assert_eq!(original.tensors(), source.tensors());
}

// Checkpoints made from the fixture.

struct Made {
    _guard: tempfile::TempDir,
    path: Utf8PathBuf,
}

/// Tensors by name: type, shape, data.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn fixture_tensors() -> Tensors {
    let bytes = fs::read(nano().join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let owned = |(name, view): (String, TensorView<'_>)| {
        (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    tensors.tensors().into_iter().map(owned).collect()
}

fn serialize(tensors: &Tensors) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(n, (t, s, d))| (n.clone(), TensorView::new(*t, s.clone(), d).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// A checkpoint with the fixture's config and no weights.
fn empty() -> Made {
    let guard = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
    fs::copy(nano().join("config.json"), path.join("config.json")).unwrap();
    Made { _guard: guard, path }
}

fn with_weights(tensors: &Tensors) -> Made {
    let made = empty();
    fs::write(made.path.join("model.safetensors"), serialize(tensors)).unwrap();
    made
}

/// Splits the fixture in three, with or without an index.
fn sharded(with_index: bool) -> Made {
    let made = empty();
    let mut shards = [Tensors::new(), Tensors::new(), Tensors::new()];
    let mut weight_map = serde_json::Map::new();
    for (i, (name, tensor)) in fixture_tensors().into_iter().enumerate() {
        let file = format!("model-{:05}-of-00003.safetensors", i % 3 + 1);
        weight_map.insert(name.clone(), file.into());
        shards[i % 3].insert(name, tensor);
    }
    for (i, shard) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-00003.safetensors", i + 1);
        fs::write(made.path.join(file), serialize(shard)).unwrap();
    }
    if with_index {
        let index = serde_json::json!({"metadata": {}, "weight_map": weight_map});
        fs::write(made.path.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }
    made
}

#[test]
fn shards_give_the_same_tensors() {
    let expected = describe(&converted(&nano(), GgmlType::BF16).unwrap());
    for with_index in [true, false] {
        let made = sharded(with_index);
        let source = converted(&made.path, GgmlType::BF16).unwrap();
        assert_eq!(describe(&source), expected);
        assert!(source.tensors()[..12].iter().all(|t| t.ggml_type == GgmlType::MXFP4));
    }
}

#[test]
fn plain_experts_are_converted_too() {
    let mut tensors = fixture_tensors();
    let reference = converted(&nano(), GgmlType::F32).unwrap();
    for layer in 0..4 {
        for (stem, parts) in [("gate_up_proj", vec!["gate", "up"]), ("down_proj", vec!["down"])] {
            let stem = format!("model.layers.{layer}.mlp.experts.{stem}");
            tensors.remove(&format!("{stem}_blocks")).unwrap();
            tensors.remove(&format!("{stem}_scales")).unwrap();
            // [experts, columns, rows * parts], gate and up alternating.
            let (experts, size, n) = (12, 192, parts.len());
            let mut data = vec![0; experts * size * size * n * 2];
            for (p, part) in parts.iter().enumerate() {
                let name = format!("blk.{layer}.ffn_{part}_exps.weight");
                let bytes = read(&reference, reference.find(&name).unwrap());
                let mut floats = vec![0.0; experts * size * size];
                ggml::dequantize(GgmlType::MXFP4, &bytes, &mut floats).unwrap();
                for (i, v) in floats.iter().enumerate() {
                    let (e, row, column) = (i / size / size, i / size % size, i % size);
                    let at = ((e * size + column) * size + row) * n + p;
                    data[at * 2..][..2].copy_from_slice(&bf16::from_f32(*v).to_le_bytes());
                }
            }
            tensors.insert(stem, (Dtype::BF16, vec![experts, size, size * n], data));
        }
    }
    let made = with_weights(&tensors);

    for dtype in [GgmlType::F32, GgmlType::BF16, GgmlType::F16] {
        let source = converted(&made.path, dtype).unwrap();
        let file_type = match dtype {
            GgmlType::F32 => 0,
            GgmlType::F16 => 1,
            _ => 32,
        };
        assert_eq!(source.metadata().u64("general.file_type"), Some(file_type));
        for (i, info) in source.tensors().iter().enumerate() {
            if !info.name.ends_with("_exps.weight") {
                continue;
            }
            assert_eq!(info.ggml_type, dtype);
            let bytes = read(&reference, reference.find(&info.name).unwrap());
            let mut expected = vec![0.0; info.elements() as usize];
            ggml::dequantize(GgmlType::MXFP4, &bytes, &mut expected).unwrap();
            let mut found = vec![0.0; info.elements() as usize];
            ggml::dequantize(dtype, &read(&source, i), &mut found).unwrap();
            assert_eq!(found, expected, "{}", info.name);
        }
    }

    // By name, as the converter goes: no MXFP4 tensors that would come first.
    let names: Vec<_> = converted(&made.path, GgmlType::F32)
        .unwrap()
        .tensors()
        .iter()
        .map(|t| t.name.to_string())
        .collect();
    assert_eq!(names[0], "output.weight");
    assert_eq!(names[3], "blk.0.ffn_down_exps.weight");
}

// Damage.

fn message(directory: &Utf8Path) -> String {
    match converted(directory, GgmlType::F16) {
        Ok(_) => panic!("a damaged checkpoint was taken"),
        Err(message) => {
            assert!(message.contains(directory.as_str()), "names its file: {message}");
            message
        }
    }
}

#[track_caller]
fn assert_message(directory: &Utf8Path, parts: &[&str]) {
    let message = message(directory);
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn missing_files() {
    let made = empty();
    assert_message(&made.path, &["has no model*.safetensors"]);
    fs::remove_file(made.path.join("config.json")).unwrap();
    assert_message(&made.path, &["has no config.json"]);
    assert_message(&made.path.join("nowhere"), &["the directory does not exist"]);

    let made = sharded(true);
    fs::remove_file(made.path.join("model-00002-of-00003.safetensors")).unwrap();
    assert_message(&made.path, &["has no model-00002-of-00003.safetensors", "index.json names"]);

    let made = sharded(false);
    fs::remove_file(made.path.join("model-00002-of-00003.safetensors")).unwrap();
    assert_message(&made.path, &["has no model-00002-of-00003.safetensors", "one of the 3 parts"]);

    let made = sharded(true);
    fs::write(made.path.join("model-old.safetensors"), b"").unwrap();
    assert_message(&made.path, &["none for model-old.safetensors"]);
}

#[test]
fn an_index_that_disagrees() {
    let index = "model.safetensors.index.json";
    let edit = |change: fn(&mut serde_json::Map<String, Json>)| {
        let made = sharded(true);
        let text = fs::read_to_string(made.path.join(index)).unwrap();
        let mut json: Json = serde_json::from_str(&text).unwrap();
        change(json["weight_map"].as_object_mut().unwrap());
        fs::write(made.path.join(index), json.to_string()).unwrap();
        made
    };
    let made = edit(|map| {
        map["model.norm.weight"] = "model-00001-of-00003.safetensors".into();
        map["lm_head.weight"] = "model-00002-of-00003.safetensors".into();
    });
    assert_message(&made.path, &["expected its data in model-0000", "found it in model-0000"]);
    let made = edit(|map| {
        map.insert("phantom".into(), "model-00001-of-00003.safetensors".into());
    });
    assert_message(&made.path, &["tensor phantom is missing"]);
    let made = edit(|map| {
        map.remove("model.norm.weight");
    });
    assert_message(&made.path, &["tensor model.norm.weight", "found none for this one"]);
    let made = edit(|map| {
        map["model.norm.weight"] = "../../etc/passwd".into();
    });
    let outside = ["names of files beside it", "found \"../../etc/passwd\""];
    assert_message(&made.path, &outside);
    for elsewhere in ["/etc/passwd", "sub/x.safetensors", "..", ".", "", "./x.safetensors", "x/"] {
        let mut json: Json =
            serde_json::from_str(&fs::read_to_string(made.path.join(index)).unwrap()).unwrap();
        json["weight_map"]["model.norm.weight"] = elsewhere.into();
        fs::write(made.path.join(index), json.to_string()).unwrap();
        assert_message(&made.path, &["names of files beside it", &format!("found {elsewhere:?}")]);
    }
    fs::write(made.path.join(index), "[1, 2").unwrap();
    assert_message(&made.path, &["the index is not what it should be"]);
}

#[test]
fn an_index_may_name_files_that_are_called_anything() {
    let index = "model.safetensors.index.json";
    let made = sharded(true);
    let rename = |from: &str, to: &str| {
        fs::rename(made.path.join(from), made.path.join(to)).unwrap();
        let text = fs::read_to_string(made.path.join(index)).unwrap();
        fs::write(made.path.join(index), text.replace(from, to)).unwrap();
    };
    rename("model-00002-of-00003.safetensors", "experts.safetensors");
    rename("model-00003-of-00003.safetensors", ".rest");
    let source = converted(&made.path, GgmlType::F32).unwrap();
    let expected = converted(&nano(), GgmlType::F32).unwrap();
    assert_eq!(describe(&source), describe(&expected));
    let names = Checkpoint::file_names(&made.path).unwrap();
    let all = [".rest", "experts.safetensors", "model-00001-of-00003.safetensors", index];
    assert_eq!(names[..4], all);

    // Its own name in full, with why it is not there.
    fs::remove_file(made.path.join("experts.safetensors")).unwrap();
    assert_message(&made.path, &["has no experts.safetensors, which", "download it again"]);
    let downloads = made.path.join(".cache/huggingface/download");
    fs::create_dir_all(&downloads).unwrap();
    fs::write(downloads.join("Zk3x.dd67.incomplete"), "").unwrap();
    assert_message(&made.path, &["has no experts.safetensors", "is not finished; run it again"]);
    std::os::unix::fs::symlink("../blobs/dd67", made.path.join("experts.safetensors")).unwrap();
    assert_message(&made.path, &["has no experts.safetensors", "a link to ../blobs/dd67"]);

    // Without an index another name is no weight file, and is named.
    let made = with_weights(&fixture_tensors());
    let file = made.path.join("model.safetensors");
    fs::rename(&file, made.path.join("weights.safetensors")).unwrap();
    assert_message(&made.path, &["has no model*.safetensors; it has weights.safetensors, which"]);
}

#[test]
fn what_was_not_fetched_is_told_from_what_is_damaged() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:dd6778c7\nsize 5664040\n";
    let fetched = ["is a Git LFS pointer", "5.7 MB", "git lfs pull"];
    let page = ["is a web page or a server's error message"];
    for name in ["model.safetensors", "config.json"] {
        let made = with_weights(&fixture_tensors());
        fs::write(made.path.join(name), pointer).unwrap();
        assert_message(&made.path, &[&[name][..], &fetched].concat());
        fs::write(made.path.join(name), "<!DOCTYPE html>\n<html>").unwrap();
        assert_message(&made.path, &[&[name][..], &page].concat());
    }
    let made = with_weights(&fixture_tensors());
    fs::write(made.path.join("model.safetensors"), "Invalid username or password.").unwrap();
    let quoted = ["expected a safetensors file", "begins with \"Invalid username or password.\""];
    assert_message(&made.path, &quoted);
    let made = sharded(true);
    fs::write(made.path.join("model.safetensors.index.json"), pointer).unwrap();
    assert_message(&made.path, &fetched);

    let directory = with_weights(&fixture_tensors());
    fs::write(directory.path.join("tokenizer.json"), pointer).unwrap();
    let error = Vocabulary::from_directory(&directory.path, 2048).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json is a Git LFS pointer"), "{error}");
}

#[test]
fn numbers_that_only_python_writes_matter_only_where_they_are_used() {
    let made = with_weights(&fixture_tensors());
    let edit = |name: &str, from: &str, to: &str| {
        let text = fs::read_to_string(nano().join(name)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(made.path.join(name), text.replace(from, to)).unwrap();
    };
    let unused = "\"initializer_range\": -Infinity, \"x\": [NaN, Infinity]";
    edit("config.json", "\"initializer_range\": 0.02", unused);
    edit("generation_config.json", "\"do_sample\"", "\"max_time\": Infinity, \"do_sample\"");
    let source = converted(&made.path, GgmlType::F32).unwrap();
    assert_eq!(source.warnings(), [] as [String; 0]);

    edit("generation_config.json", "\"do_sample\"", "\"temperature\": NaN, \"do_sample\"");
    assert_message(&made.path, &["generation_config.json", "temperature", "found \"NaN\""]);
    edit("generation_config.json", "\"do_sample\"", "\"top_k\": 1e10, \"do_sample\"");
    assert_message(&made.path, &["generation_config.json", "top_k", "found 10000000000.0"]);
    edit("generation_config.json", "{", "");
    let warnings = converted(&made.path, GgmlType::F32).unwrap().warnings().to_vec();
    assert!(warnings[0].contains("generation_config.json is not the JSON"), "{warnings:?}");

    edit("config.json", "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": NaN");
    assert_message(&made.path, &["config.json", "\"NaN\"", "at line "]);
}

#[test]
fn a_stray_name_that_is_no_text_is_passed_over() {
    use std::os::unix::ffi::OsStrExt;
    let made = with_weights(&fixture_tensors());
    let stray = std::ffi::OsStr::from_bytes(b"model-\xff.safetensors");
    fs::write(made.path.as_std_path().join(stray), "").unwrap();
    converted(&made.path, GgmlType::F32).unwrap();
}

#[test]
fn tensors_that_disagree_with_the_config() {
    let norm = "model.layers.2.input_layernorm.weight";
    let mut tensors = fixture_tensors();
    let kept = tensors.remove(norm).unwrap();
    let made = with_weights(&tensors);
    assert_message(&made.path, &[norm, "is missing: config.json asks for it"]);

    tensors.insert(norm.into(), (Dtype::BF16, vec![96, 2], kept.2.clone()));
    let made = with_weights(&tensors);
    assert_message(&made.path, &[norm, "expected shape [192] from config.json, found [96, 2]"]);

    tensors.insert(norm.into(), (Dtype::I16, vec![192], kept.2.clone()));
    let made = with_weights(&tensors);
    assert_message(&made.path, &[norm, "expected F32, F16 or BF16, found I16"]);

    tensors.insert(norm.into(), kept.clone());
    tensors.insert("model.layers.9.surprise".into(), kept);
    let made = with_weights(&tensors);
    assert_message(&made.path, &["model.layers.9.surprise", "one that is not among them"]);

    let made = with_weights(&fixture_tensors());
    let config = fs::read_to_string(nano().join("config.json")).unwrap();
    let edited = config.replace("\"hidden_size\": 192", "\"hidden_size\": 224");
    fs::write(made.path.join("config.json"), edited).unwrap();
    assert_message(&made.path, &["from config.json, found"]);
    let edited = config.replace("\"intermediate_size\": 192", "\"intermediate_size\": 200");
    fs::write(made.path.join("config.json"), edited).unwrap();
    assert_message(&made.path, &["a multiple of 32 weights"]);
    fs::copy(nano().join("original/config.json"), made.path.join("config.json")).unwrap();
    assert_message(&made.path, &["config.json is of the original layout"]);
    fs::write(made.path.join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    assert_message(&made.path, &["model_type: expected gpt_oss"]);
}

#[test]
fn a_value_that_the_type_cannot_hold() {
    let mut tensors = fixture_tensors();
    let (_, _, data) = tensors.get_mut("model.layers.0.self_attn.q_proj.weight").unwrap();
    data[(192 + 5) * 2..][..2].copy_from_slice(&bf16::from_f32(1e6).to_le_bytes());
    let made = with_weights(&tensors);
    let source = converted(&made.path, GgmlType::F16).unwrap();
    let tensor = source.find("blk.0.attn_q.weight").unwrap();
    let error = source.read_rows(tensor, 1..2, &mut [0; 384]).unwrap_err().to_string();
    assert!(error.contains("blk.0.attn_q.weight: row 1, column 5 is 999424, which f16"), "{error}");
}

/// A safetensors file of this header and so many bytes of data.
fn raw(header: &str, data: usize) -> Made {
    let made = empty();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(made.path.join("model.safetensors"), bytes).unwrap();
    made
}

#[test]
fn damaged_safetensors() {
    let made = with_weights(&fixture_tensors());
    let file = made.path.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    for keep in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&file, &bytes[..keep]).unwrap();
        assert_message(&made.path, &["is truncated", &format!("it is {keep} bytes long")]);
    }
    fs::write(&file, [&bytes[..], b"tail"].concat()).unwrap();
    assert_message(&made.path, &["its length: expected", "where "]);
    fs::write(&file, u64::MAX.to_le_bytes()).unwrap();
    assert_message(&made.path, &["the length of the header", "at most 100000000"]);

    let a = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#""a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}"#)
    };
    let b = |start: u32, end: u32| {
        let n = end - start;
        format!(r#""b": {{"dtype": "U8", "shape": [{n}], "data_offsets": [{start}, {end}]}}"#)
    };
    let four = a("F32", "[1]", "[0, 4]");
    let cases: &[(String, usize, &[&str])] = &[
        ("{nonsense".into(), 0, &["the header is not what it should be"]),
        ("[]".into(), 0, &["expected an object of tensors"]),
        ("[".repeat(10_000), 0, &["the header is not what it should be"]),
        (format!("{{{}}}", a("F31", "[1]", "[0, 4]")), 4, &["tensor a: unknown variant `F31`"]),
        (format!("{{{}}}", a("F32", "[2]", "[0, 4]")), 4, &["expected 8 bytes for its shape"]),
        (format!("{{{}}}", a("F32", "[1]", "[4, 0]")), 4, &["offsets in order, found 4 to 0"]),
        (
            format!("{{{}}}", a("F32", "[4294967296, 4294967296]", "[0, 4]")),
            4,
            &["a shape that is a whole number of bytes"],
        ),
        (format!("{{{four}, {four}}}"), 4, &["tensor a: expected every name once"]),
        (
            format!("{{{four}, {}}}", b(2, 6)),
            6,
            &["tensor b: expected data from byte", "where a ends", "overlaps"],
        ),
        (format!("{{{four}, {}}}", b(6, 8)), 8, &["tensor b", "leaves a gap after it"]),
        (
            format!("{{{}}}", a("U8", "[18446744073709551615]", "[0, 18446744073709551615]")),
            4,
            &["tensor a"],
        ),
    ];
    for (header, data, parts) in cases {
        assert_message(&raw(header, *data).path, parts);
    }
}
