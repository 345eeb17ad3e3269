//! GGUF files with what most do not have, and llama.cpp reads: tensors of types that nothing is computed
//! with or without weights, text that is no UTF-8, odd truth values. Listed, compared and copied; refused
//! where something would have to be computed.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

#[path = "common/place.rs"]
mod place;

use std::fs;

use place::{Place, nano};
use qrun::ggml::{GgmlType, OpaqueType, StoredType};
use qrun::gguf::{Array, File, Layout, Metadata, Name, TensorInfo, TensorSource, Value};

/// The nano model in a directory of its own.
fn model() -> Place {
    let place = Place::new();
    place.done(&["convert", nano().as_str(), "f32.gguf", "--threads", "2"]);
    place
}

impl Place {
    /// The model with more tensors, whose bytes count up, and more metadata.
    fn write(&self, name: &str, more: &[TensorInfo], pairs: &[(Name, Value)]) {
        let file = File::open(self.directory.join("f32.gguf")).unwrap();
        let mut metadata: Metadata = TensorSource::metadata(&file).clone();
        for (key, value) in pairs {
            metadata.set(key.clone(), value.clone());
        }
        let infos = [file.tensors(), more].concat();
        let layout = Layout::new(&metadata, &infos).unwrap();
        let mut bytes = layout.header().to_vec();
        for (i, info) in infos.iter().enumerate() {
            match file.tensors().get(i) {
                Some(_) => bytes.extend_from_slice(file.data(i)),
                None => bytes.extend((0..info.bytes()).map(|b| b as u8)),
            }
            bytes.resize(bytes.len() + layout.padding(info.bytes()), 0);
        }
        fs::write(self.directory.join(name), bytes).unwrap();
    }
}

/// One row of each type that is copied only, and a tensor without weights.
fn odd_tensors() -> Vec<TensorInfo> {
    let opaque = OpaqueType::ALL.iter().map(|&ty| {
        let name = format!("odd.{}.weight", ty.name());
        TensorInfo::new(name, StoredType::Opaque(ty), [ty.block_size() as u64 * 2])
    });
    let empty = [&[256, 0][..], &[0, 256], &[0]].map(|shape| {
        TensorInfo::new(format!("empty.{}.{}.weight", shape[0], shape.len()), GgmlType::F32, shape)
    });
    opaque.chain(empty).collect()
}

#[test]
fn tensors_that_nothing_is_computed_with_are_listed_compared_and_copied() {
    let place = model();
    let odd = odd_tensors();
    place.write("odd.gguf", &odd, &[]);
    // What comes next: a type of a later ggml.
    let path = place.directory.join("odd.gguf");
    let mut bytes = fs::read(&path).unwrap();
    let name = b"odd.q2_0.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 8;
    assert_eq!(bytes[at], 42);
    bytes[at] = 99;
    fs::write(&path, bytes).unwrap();

    let listed = place.json(&["inspect", "odd.gguf"]);
    let tensor = |name: &str| {
        let tensors = listed["tensors"].as_array().unwrap();
        tensors.iter().find(|t| t["name"] == name).unwrap().clone()
    };
    assert_eq!(listed["tensors"].as_array().unwrap().len(), 79 + odd.len());
    assert_eq!(tensor("odd.i64.weight")["bytes"], 16);
    assert_eq!(tensor("odd.nvfp4.weight")["type"], "nvfp4");
    assert_eq!(tensor("empty.256.2.weight")["bytes"], 0);
    // Up to the next tensor: 36 bytes, and padding to 64.
    assert_eq!(
        (&tensor("odd.q2_0.weight")["type"], &tensor("odd.q2_0.weight")["bytes"]),
        (&"type 99".into(), &64.into())
    );
    assert!(place.done(&["inspect", "odd.gguf"]).contains("type 99"));

    let written = place.json(&["quantize", "odd.gguf", "q.gguf", "--format", "q4_K_M"]);
    assert!(written["tensors"].as_array().unwrap().iter().any(|t| t["type"] == "type 99"));
    let open = |name: &str| File::open(place.directory.join(name)).unwrap();
    let (from, to) = (open("odd.gguf"), open("q.gguf"));
    for info in &odd {
        let (a, b) = (from.find(&info.name).unwrap(), to.find(&info.name).unwrap());
        assert_eq!(from.tensors()[a], to.tensors()[b]);
        assert!(from.data(a) == to.data(b), "{}", info.name);
    }
    // All else is what it is without them.
    place.done(&["quantize", "f32.gguf", "plain.gguf", "--format", "q4_K_M"]);
    let plain = open("plain.gguf");
    for (i, info) in plain.tensors().iter().enumerate() {
        assert!(to.data(to.find(&info.name).unwrap()) == plain.data(i), "{}", info.name);
    }

    let same = place.json(&["diff", "odd.gguf", "q.gguf"]);
    assert_eq!(same["unmatched"], serde_json::json!([]));
    let tensors = same["tensors"].as_array().unwrap();
    let odd_ones = tensors.iter().filter(|t| t["name"].as_str().unwrap().contains("odd"));
    assert!(
        odd_ones.clone().count() == OpaqueType::ALL.len()
            && odd_ones.clone().all(|t| t["identical"] == true)
    );
    // Other bytes of such a type are a difference that has no size.
    let mut bytes = fs::read(place.directory.join("q.gguf")).unwrap();
    bytes[to.range(to.find("odd.i32.weight").unwrap()).start] ^= 1;
    fs::write(place.directory.join("other.gguf"), bytes).unwrap();
    let differs = place.done(&["diff", "odd.gguf", "other.gguf"]);
    assert!(
        differs.contains("odd.i32.weight differs: it is i32 here and i32 in the reference"),
        "{differs}"
    );
}

#[test]
fn what_would_have_to_be_computed_is_refused_by_name() {
    let place = model();
    let nvfp4 = StoredType::Opaque(OpaqueType::NVFP4);
    place.write("odd.gguf", &[TensorInfo::new("odd.weight", nvfp4, [64, 4])], &[]);
    let refused = ["tensor odd.weight would become q", "but it is nvfp4", "not quantized"];
    place.fails(&["quantize", "odd.gguf", "q.gguf", "--format", "q4_K_M"], 2, &refused);
    place.fails(&["quantize", "odd.gguf", "--format", "q4_K_M", "--dry-run"], 2, &refused);
    assert!(!place.directory.join("q.gguf").exists());

    // A tensor of the model itself.
    let bytes = fs::read(place.directory.join("f32.gguf")).unwrap();
    let name = b"blk.0.attn_k.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 16;
    for (id, name) in [(26, "i32"), (77, "type 77")] {
        let mut bytes = bytes.clone();
        bytes[at] = id;
        fs::write(place.directory.join("bad.gguf"), bytes).unwrap();
        let said = format!("bad.gguf: tensor blk.0.attn_k.weight is of {name}, with which nothing");
        for command in [
            &["check", "bad.gguf"][..],
            &["bench", "bad.gguf", "--runs", "1"],
            &["generate", "bad.gguf", "--prompt", "x"],
        ] {
            place.fails(command, 3, &[&said]);
        }
        let said = format!("tensor blk.0.attn_k.weight would become q8_0, but it is {name}");
        place.fails(&["quantize", "bad.gguf", "q.gguf", "--format", "q8_0"], 2, &[&said]);
    }
}

#[test]
fn text_that_is_no_utf8_is_shown_and_written_back() {
    let place = model();
    // What llama-quantize keeps of a path: 127 bytes, whatever character that cuts.
    let cut = format!("/homes/{}", "модель/".repeat(20)).into_bytes()[..127].to_vec();
    assert!(std::str::from_utf8(&cut).is_err());
    let pairs = [
        ("quantize.imatrix.file".into(), Value::RawString(cut)),
        ("tokenizer.ggml.add_bos_token".into(), Value::RawBool(2)),
        ("odd.truth".into(), Value::Array(Array::RawBool(vec![0, 7]))),
        ("odd.texts".into(), Value::Array(Array::RawString(vec![b"\xff".to_vec(), b"b".to_vec()]))),
        (Name::from_bytes(b"odd.\xfe"), Value::U32(48)),
    ];
    let name = Name::from_bytes(b"odd.\xc3");
    place.write("odd.gguf", &[TensorInfo::new(name.clone(), GgmlType::F32, [2])], &pairs);

    let listed = place.json(&["inspect", "odd.gguf"]);
    let value = |key: &str| {
        let pairs = listed["metadata"].as_array().unwrap();
        pairs.iter().find(|p| p["key"] == key).unwrap()["value"].clone()
    };
    assert!(value("quantize.imatrix.file").as_str().unwrap().ends_with("модель/м\u{fffd}"));
    assert_eq!(value("tokenizer.ggml.add_bos_token"), true);
    assert_eq!(value("odd.truth"), serde_json::json!([false, true]));
    assert_eq!(value("odd.texts"), serde_json::json!(["\u{fffd}", "b"]));
    assert_eq!(value("odd.\u{fffd}"), 48);
    assert!(place.done(&["inspect", "odd.gguf"]).contains("odd.\u{fffd}"));

    place.done(&["quantize", "odd.gguf", "q.gguf", "--format", "q8_0"]);
    let file = File::open(place.directory.join("q.gguf")).unwrap();
    for (key, expected) in &pairs {
        assert_eq!(TensorSource::metadata(&file).value(key), Some(expected), "{key}");
    }
    assert!(file.tensors().iter().any(|t| t.name == name));
    let same = place.json(&["diff", "odd.gguf", "q.gguf"]);
    let keys: Vec<_> = same["metadata"].as_array().unwrap().iter().map(|k| &k["key"]).collect();
    assert!(keys.iter().all(|k| k.as_str().unwrap().starts_with("general.")), "{keys:?}");
}

#[test]
fn a_file_without_weights_has_no_bits_per_weight_and_no_nan() {
    let place = model();
    let empty = TensorInfo::new("empty", GgmlType::F32, [0, 4]);
    let bytes = Layout::new(&Metadata::default(), &[empty]).unwrap().header().to_vec();
    fs::write(place.directory.join("empty.gguf"), bytes).unwrap();
    let listed = place.json(&["inspect", "empty.gguf"]);
    assert_eq!((&listed["parameters"], &listed["bits_per_weight"]), (&0.into(), &0.0.into()));
    assert_eq!(listed["groups"][0]["share"], 0.0);
    for args in
        [&["inspect", "empty.gguf"][..], &["quantize", "empty.gguf", "q.gguf", "--format", "q8_0"]]
    {
        let said = place.done(args);
        assert!(!said.contains("NaN"), "{said}");
    }
}
