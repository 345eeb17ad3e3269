//! `qrun generate` and `qrun evaluate`, and the numbers of llama-perplexity.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

mod common;

use std::process::{Command, Output};

use camino::{Utf8Path, Utf8PathBuf};
use common::Nano;
use qrun::gguf::{Array, File, Layout, Metadata, TensorSource, Value};
use qrun::steps::NativeMxfp4;
use serde_json::Value as Json;

const KJV: &str = "tests/fixtures/corpus/kjv.txt";
const PROMPT: &str = "And the LORD said unto Moses";

fn qrun(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qrun")).args(words).output().unwrap()
}

fn stdout(words: &[&str]) -> String {
    let output = qrun(words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(words: &[&str]) -> Json {
    serde_json::from_str(&stdout(&[words, &["--json"]].concat())).unwrap()
}

fn failure(words: &[&str], code: i32, expected: &str) {
    let output = qrun(words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
    assert!(stderr.contains(expected), "{words:?}: {stderr}");
}

/// What llama-perplexity measured over kjv.txt for a format.
fn oracle(format: &str) -> Json {
    let text = std::fs::read_to_string("tests/fixtures/oracle/perplexity.json").unwrap();
    serde_json::from_str::<Json>(&text).unwrap()["corpus"]["kjv"][format].clone()
}

fn assert_near(name: &str, found: &Json, expected: &Json, tolerance: f64) {
    let ratio = found.as_f64().unwrap() / expected.as_f64().unwrap();
    println!("{name}: {found}, llama.cpp {expected}: {ratio:.4}");
    assert!((ratio - 1.0).abs() < tolerance, "{name}: {found}, llama.cpp has {expected}");
}

/// One pass over the text with both files; perplexities are much less sensitive than divergences.
fn numbers_are_llama_cpps(format: &str, native_mxfp4: NativeMxfp4) {
    let nano = Nano::new();
    let (file, reference) = (nano.quantized(format, native_mxfp4), nano.f32());
    let words = ["evaluate", file.as_str(), "--reference", reference.as_str(), "--corpus", KJV];
    let found = json(&words);
    let expected = oracle(&format.to_uppercase());
    assert_eq!(found["qrun_version"], env!("CARGO_PKG_VERSION"));
    assert!(found["created"].as_str().unwrap().ends_with('Z'), "{found}");
    assert_eq!(found["windows"], 56);
    assert_eq!(found["tokens"], 56 * 255);
    assert_near("perplexity", &found["perplexity"], &expected["perplexity"], 0.005);
    let f32 = &oracle("f32")["perplexity"];
    assert_near("perplexity of f32", &found["reference_perplexity"], f32, 0.005);
    // The tail is a hundred tokens of 14280; which they are hangs on last bits.
    for (name, tolerance) in [("mean", 0.1), ("median", 0.1), ("p99", 0.25)] {
        let (found, expected) = (&found["kl_divergence"][name], &expected["kl_divergence"][name]);
        assert_near(name, found, expected, tolerance);
    }
    let percent = found["top_token_agreement"].as_f64().unwrap() * 100.0;
    let expected = &expected["top_token_agreement_percent"];
    assert_near("top token agreement", &percent.into(), expected, 0.01);
}

#[test]
fn q8_0_measures_as_llama_cpp_measures_it() {
    numbers_are_llama_cpps("q8_0", NativeMxfp4::Keep);
}

#[test]
fn q4_k_m_measures_as_llama_cpp_measures_it() {
    numbers_are_llama_cpps("q4_K_M", NativeMxfp4::Keep);
}

#[test]
fn a_file_does_not_diverge_from_itself() {
    let nano = Nano::new();
    let file = nano.f32();
    let words = ["evaluate", file.as_str(), "--reference", file.as_str(), "--corpus", KJV];
    let same = json(&[&words[..], &["--windows", "2", "--context", "64", "--exact"]].concat());
    assert_eq!((&same["windows"], &same["tokens"]), (&2.into(), &(2 * 31).into()));
    assert_eq!(same["kl_divergence"]["max"], 0.0);
    assert_eq!(same["top_token_agreement"], 1.0);
    assert_eq!(same["perplexity"], same["reference_perplexity"]);
}

#[test]
fn generated_text_is_its_tokens() {
    let nano = Nano::new();
    let file = nano.f32();
    let words = ["generate", file.as_str(), "--prompt", PROMPT, "--tokens", "24"];
    let text = stdout(&words);
    let found = json(&words);
    assert_eq!(text.trim_end_matches('\n'), found["text"].as_str().unwrap().trim_end_matches('\n'));
    let tokens = found["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 24);
    let pieces: String = tokens.iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert_eq!(pieces, found["text"].as_str().unwrap());
    for token in tokens {
        let gap = token["logit"].as_f64().unwrap() - token["runner_up"]["logit"].as_f64().unwrap();
        assert!(gap >= 0.0 && token["id"] != token["runner_up"]["id"], "{token}");
    }
    assert!(!found["prompt_tokens"].as_array().unwrap().is_empty());
    assert_eq!(stdout(&[&words[..], &["--threads", "1"]].concat()), text);
}

#[test]
fn a_seed_decides_what_is_sampled() {
    let nano = Nano::new();
    let file = nano.quantized("q8_0", NativeMxfp4::Keep);
    let sample = |seed| {
        let words = ["generate", file.as_str(), "--prompt", PROMPT, "--tokens", "12"];
        stdout(&[&words[..], &["--temperature", "1.5", "--seed", seed]].concat())
    };
    assert_eq!(sample("7"), sample("7"));
    assert_ne!(sample("7"), sample("8"));
}

#[test]
fn what_cannot_be_done_says_why() {
    let nano = Nano::new();
    let file = nano.f32();
    let file = file.as_str();
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short.txt");
    std::fs::write(&short, "In the beginning").unwrap();
    let short = short.to_str().unwrap();
    failure(&["evaluate", file, "--corpus", short], 3, "one window needs 512");
    failure(&["evaluate", file, "--corpus", "no such.txt"], 3, "cannot read no such.txt");
    failure(&["evaluate", file, "--corpus", KJV, "--context", "3"], 2, "too short");
    failure(&["evaluate", file, "--corpus", KJV, "--windows", "0"], 2, "nothing to evaluate");
    let binary = dir.path().join("binary.txt");
    std::fs::write(&binary, b"abc\xff").unwrap();
    failure(&["evaluate", file, "--corpus", binary.to_str().unwrap()], 3, "0xff at offset 3");
    failure(&["generate", "no such.gguf", "--prompt", "x"], 3, "no such.gguf");
    failure(&["generate", file, "--prompt", ""], 2, "no tokens");
    failure(&["generate", file, "--prompt", "x", "--tokens", "200000"], 2, "at most 131072");
    failure(&["generate", file, "--prompt", "x", "--temperature", "-1"], 2, "zero or more");
}

/// A copy of `file` with other metadata, and other bytes where `tensor` was.
fn altered(
    nano: &Nano,
    file: &Utf8Path,
    metadata: impl FnOnce(&mut Metadata),
    tensor: &str,
    bytes: impl FnOnce(&mut [u8]),
) -> Utf8PathBuf {
    let source = File::open(file).unwrap();
    let mut header = source.metadata().clone();
    metadata(&mut header);
    let layout = Layout::new(&header, source.tensors()).unwrap();
    let mut data = layout.header().to_vec();
    for (i, info) in source.tensors().iter().enumerate() {
        data.extend_from_slice(source.data(i));
        data.resize(data.len() + layout.padding(info.bytes()), 0);
    }
    let at = source.find(tensor).unwrap();
    bytes(&mut data[layout.offset(at) as usize..][..source.data(at).len()]);
    let path = nano.path("altered.gguf");
    std::fs::write(&path, data).unwrap();
    path
}

/// A divergence between two vocabularies would mean nothing.
#[test]
fn references_must_share_the_vocabulary() {
    let nano = Nano::new();
    let file = nano.f32();
    let swap = |metadata: &mut Metadata| {
        let Some(Value::Array(Array::String(tokens))) = metadata.get("tokenizer.ggml.tokens")
        else {
            panic!("no tokens")
        };
        let mut tokens = tokens.clone();
        let find = |word: &str| tokens.iter().position(|t| t == word).unwrap();
        let (the, and) = (find("Ġthe"), find("Ġand"));
        tokens.swap(the, and);
        metadata.set("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    };
    let other = altered(&nano, &file, swap, "output.weight", |_| ());
    let words = ["evaluate", file.as_str(), "--reference", other.as_str(), "--corpus", KJV];
    failure(&words, 3, "do not share a vocabulary");
}

#[test]
fn a_model_whose_logits_are_no_numbers_is_refused() {
    let nano = Nano::new();
    let file = nano.f32();
    let nan = |bytes: &mut [u8]| bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let file = altered(&nano, &file, |_| (), "output_norm.weight", nan);
    failure(&["generate", file.as_str(), "--prompt", PROMPT], 3, "logits after");
    let words = ["evaluate", file.as_str(), "--corpus", KJV, "--windows", "1"];
    failure(&words, 3, "are not finite");
}
