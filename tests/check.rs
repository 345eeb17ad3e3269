//! The load check refuses what llama.cpp refuses to load, and warns of what it warns of.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

#[path = "common/edit.rs"]
mod edit;

use camino::{Utf8Path, Utf8PathBuf};
use edit::{Warnings, edited};
use qrun::ggml::GgmlType;
use qrun::gguf::{Array, File, Metadata, TensorInfo, TensorSource, Value};
use qrun::steps::{ErrorClass, Label, LoadCheckSpec, load_check};

fn check(gguf: &Utf8Path) -> (Result<(), String>, Vec<String>) {
    let warnings = Warnings::default();
    let result = load_check::run(
        &LoadCheckSpec { gguf: gguf.into(), limit: Label::default() },
        &warnings.context(),
    );
    let result = result.map(|_| ()).map_err(|e| {
        assert_eq!(e.class, ErrorClass::Input);
        e.message
    });
    (result, warnings.all())
}

fn with(name: &str, edit: impl FnOnce(&mut Metadata)) -> Utf8PathBuf {
    edited(&format!("{name}.gguf"), |metadata, _| edit(metadata))
}

fn refused(name: &str, edit: impl FnOnce(&mut Metadata)) -> String {
    check(&with(name, edit)).0.unwrap_err()
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

#[test]
fn a_file_as_convert_writes_it_passes_without_a_word() {
    let (result, warnings) = check(&with("plain", |m| m.set("tokenizer.chat_template", text("x"))));
    assert_eq!((result, warnings), (Ok(()), Vec::new()));
}

#[test]
fn keys_of_other_types_are_refused() {
    for (key, value, expected) in [
        ("gpt-oss.attention.head_count", Value::U64(4), "u64; expected u32"),
        ("gpt-oss.context_length", Value::I32(131072), "i32; expected u32"),
        ("gpt-oss.rope.freq_base", Value::F64(150000.0), "f64; expected f32"),
        ("tokenizer.ggml.eos_token_id", Value::U64(2034), "u64; expected u32"),
        ("tokenizer.ggml.padding_token_id", Value::I32(2033), "i32; expected u32"),
        ("tokenizer.ggml.add_bos_token", Value::U8(0), "u8; expected bool"),
        ("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; 3])), "array of 3 f32"),
        ("general.name", Value::U32(1), "u32; expected string"),
        ("general.file_type", Value::U64(0), "u64; expected u32"),
    ] {
        let message = refused("types", |m| m.set(key, value));
        assert!(message.contains(key) && message.contains(expected), "{message}");
        assert!(message.contains("llama.cpp refuses anything else"), "{message}");
    }
}

#[test]
fn tensors_that_the_architecture_does_not_have_are_refused() {
    let vector = |name: &str, ty: GgmlType| (TensorInfo::new(name, ty, [1]), vec![0; 4]);
    for name in ["rope_freqs.weight", "blk.0.attn_q.scale", "blk.4.attn_norm.weight"] {
        let gguf = edited("extra.gguf", |_, tensors| {
            tensors.push(vector(name, GgmlType::F32));
            tensors.push(vector("another", GgmlType::F32));
        });
        let message = check(&gguf).0.unwrap_err();
        assert!(message.contains(&format!("tensor {name} and 1 more are not")), "{message}");
    }
}

#[test]
fn norms_and_biases_are_f32() {
    let gguf = edited("bias.gguf", |_, tensors| {
        let bias = tensors.iter_mut().find(|(t, _)| t.name == "blk.1.attn_q.bias").unwrap();
        bias.0.ggml_type = GgmlType::F16.into();
        bias.1.truncate(bias.1.len() / 2);
    });
    let message = check(&gguf).0.unwrap_err();
    assert!(message.contains("tensor blk.1.attn_q.bias is f16; expected f32"), "{message}");
}

/// llama.cpp does not tell a dimension of 1 at the end from none.
#[test]
fn a_shape_may_end_in_ones() {
    let gguf = edited("shape.gguf", |m, tensors| {
        m.set("tokenizer.chat_template", text("x"));
        let norm = tensors.iter_mut().find(|(t, _)| t.name == "blk.1.attn_norm.weight").unwrap();
        norm.0.shape.push(1);
    });
    assert_eq!(check(&gguf), (Ok(()), Vec::new()));
    let gguf = edited("shape.gguf", |_, tensors| {
        let norm = tensors.iter_mut().find(|(t, _)| t.name == "blk.1.attn_norm.weight").unwrap();
        norm.0.shape = vec![96, 2];
    });
    assert!(check(&gguf).0.unwrap_err().contains("has shape [96, 2]"));
}

#[test]
fn another_architecture_is_told_before_its_tokenizer() {
    let message = refused("mamba", |m| {
        m.set("general.architecture", text("mamba"));
        m.set("tokenizer.ggml.pre", text("smollm"));
    });
    assert!(message.contains("general.architecture is \"mamba\""), "{message}");
}

#[test]
fn what_llama_cpp_warns_of_is_told() {
    let mut gguf = with("warned", |m| {
        m.remove("tokenizer.chat_template");
        m.set("tokenizer.ggml.eos_token_id", Value::U32(999_999));
        m.set("tokenizer.ggml.eot_token_id", Value::U32(42));
        m.set("gpt-oss.attention.scale", Value::F32(1.0));
        if let Some(Value::Array(Array::I32(types))) = m.get("tokenizer.ggml.token_type") {
            let mut types = types.clone();
            (types[2034], types[2037]) = (1, 1);
            m.set("tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
        }
    });
    let mut bytes = std::fs::read(&gguf).unwrap();
    bytes.extend([0; 100]);
    gguf.set_file_name("trailing.gguf");
    std::fs::write(&gguf, bytes).unwrap();
    let (result, warnings) = check(&gguf);
    assert_eq!(result, Ok(()));
    let expected = [
        "a key of no effect",
        "100 bytes of trailing.gguf after the last tensor's data",
        "eos_token_id is 999999, and there are 2048 tokens: llama.cpp takes its default, token 11,",
        "eot_token_id is 42",
        "2 of the vocabulary's special tokens are not of the control type, the first of them",
        "no chat template (tokenizer.chat_template)",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.contains(expected), "{warning}");
    }
    // The last tensor's padding is not there.
    let gguf = with("unpadded", |m| m.set("general.alignment", Value::U32(4096)));
    let file = File::open(&gguf).unwrap();
    let end = (0..file.tensors().len()).map(|t| file.range(t).end as u64).max().unwrap();
    let padding = std::fs::metadata(&gguf).unwrap().len() - end;
    assert!(padding > 0);
    std::fs::File::options().write(true).open(&gguf).unwrap().set_len(end).unwrap();
    let (result, warnings) = check(&gguf);
    assert_eq!(result, Ok(()));
    let said =
        format!("unpadded.gguf ends {padding} bytes before the padding of its last tensor does");
    assert!(warnings[0].contains(&said), "{warnings:#?}");
    let (_, warnings) = check(&with("no_eos", |m| {
        m.set("tokenizer.chat_template", text("x"));
        m.remove("tokenizer.ggml.eos_token_id");
        m.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
        m.remove("tokenizer.ggml.bos_token_id");
    }));
    assert!(warnings[0].contains("no tokenizer.ggml.eos_token_id"), "{warnings:?}");
    assert!(warnings[1].contains("add_bos_token is set and there is no bos_token_id"));
}
