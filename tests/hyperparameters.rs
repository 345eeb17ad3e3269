//! Keys that llama.cpp obeys for gpt-oss, beyond those that its converter writes: the perplexities
//! of the nano model with them against llama-perplexity's.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

#[path = "common/edit.rs"]
mod edit;

use edit::{Warnings, edited};
use qrun::gguf::{Array, Value};
use qrun::steps::{EvaluateSpec, SpecialTokens, evaluate};

/// The perplexity of the f32 file with other keys, over two windows of 512 tokens.
fn perplexity(name: &str, keys: &[(&str, Value)]) -> (f64, Vec<String>) {
    let gguf = edited(&format!("{name}.gguf"), |metadata, _| {
        for (key, value) in keys {
            metadata.set(format!("gpt-oss.{key}"), value.clone());
        }
    });
    let corpus = edit::path("text.txt");
    let text = std::fs::read("tests/fixtures/corpus/kjv.txt").unwrap();
    std::fs::write(&corpus, &text[..9000]).unwrap();
    let spec = EvaluateSpec {
        gguf: gguf.into(),
        references: Vec::new(),
        corpus: vec![corpus.into()],
        context: 512,
        max_windows: Some(2),
        exact: false,
        special_tokens: SpecialTokens::Parse,
        kv_cache: None,
    };
    let warnings = Warnings::default();
    let result = evaluate::run(&spec, &warnings.context()).unwrap();
    (result.perplexity, warnings.all())
}

/// llama-perplexity b11434, `-c 512 -b 512 --chunks 2 -fa off`, over the first 9000 bytes of
/// `kjv.txt` and files with these keys. Without any it says 25.1293.
#[test]
fn keys_have_the_effect_that_they_have_in_llama_cpp() {
    let pattern = Value::Array(Array::Bool(vec![false, true, true, false]));
    let linear = Value::String("linear".to_owned());
    let cases = [
        ("pattern", "attention.sliding_window_pattern", pattern, 27.7981),
        ("base", "rope.freq_base_swa", Value::F32(10000.0), 29.0016),
        ("factor", "rope.scaling.attn_factor", Value::F32(2.0), 39.2390),
        ("linear", "rope.scaling.type", linear, 161.8860),
    ];
    for (name, key, value, expected) in cases {
        let (found, warnings) = perplexity(name, &[(key, value)]);
        println!("{key}: {found}, llama.cpp {expected}");
        assert!((found / expected - 1.0).abs() < 0.01, "{key}: {found}, expected {expected}");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn counts_by_layer_and_keys_of_no_effect_change_nothing() {
    let (plain, _) = perplexity("plain", &[]);
    assert!((plain / 25.1293 - 1.0).abs() < 0.01, "{plain}");
    let (by_layer, warnings) = perplexity(
        "by_layer",
        &[
            ("attention.head_count", Value::Array(Array::U32(vec![4; 4]))),
            ("attention.head_count_kv", Value::Array(Array::I32(vec![2; 4]))),
            ("attention.scale", Value::F32(0.5)),
        ],
    );
    assert_eq!(by_layer, plain);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("no effect") && warnings[0].contains("gpt-oss.attention.scale"));
}
