//! A corpus of conversations is read as llama-perplexity reads it, or as text.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

#[path = "common/edit.rs"]
mod edit;

use std::fs;

use edit::{Warnings, edited, path};
use qrun::steps::evaluate::EvaluateResult;
use qrun::steps::{EvaluateSpec, SpecialTokens, StepError, evaluate};

const MESSAGE: &str = "<|start|>user<|message|>Tell me of Moses.<|end|><|start|>assistant\
                       <|channel|>final<|message|>And Moses said, go up.<|end|>\n";

fn run(
    name: &str,
    corpus: &[u8],
    special_tokens: SpecialTokens,
) -> (Result<EvaluateResult, StepError>, Vec<String>) {
    let text = path(&format!("{name}.txt"));
    fs::write(&text, corpus).unwrap();
    let spec = EvaluateSpec {
        gguf: edited(&format!("{name}.gguf"), |_, _| {}).into(),
        references: Vec::new(),
        corpus: vec![text.into()],
        context: 128,
        max_windows: None,
        exact: false,
        special_tokens,
        kv_cache: None,
    };
    let warnings = Warnings::default();
    (evaluate::run(&spec, &warnings.context()), warnings.all())
}

/// llama-perplexity of b11434 has 1160 tokens of these 40 conversations, 9 windows of 128.
#[test]
fn conversations_have_as_many_tokens_as_in_llama_cpp() {
    let corpus = MESSAGE.repeat(40);
    let (parsed, warnings) = run("parse", corpus.as_bytes(), SpecialTokens::Parse);
    let parsed = parsed.unwrap();
    assert_eq!((parsed.windows, parsed.special_tokens), (9, Some(SpecialTokens::Parse)));
    assert!(warnings.is_empty(), "{warnings:?}");
    let (literal, warnings) = run("literal", corpus.as_bytes(), SpecialTokens::Literal);
    let literal = literal.unwrap();
    assert!(literal.windows > 18, "{}", literal.windows);
    assert_eq!(literal.special_tokens, Some(SpecialTokens::Literal));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn control_tokens_that_are_read_as_text_are_told() {
    let corpus = format!("{}<|return|>\n<|endoftext|>", MESSAGE.repeat(5));
    let (result, warnings) = run("control", corpus.as_bytes(), SpecialTokens::Parse);
    result.unwrap();
    assert_eq!(warnings.len(), 1);
    let expected = "spells control tokens 2 times, the first of them <|return|>: they are read as";
    assert!(warnings[0].contains(expected), "{warnings:?}");
}

#[test]
fn a_text_of_another_encoding_is_refused_with_the_place() {
    let message =
        |name, bytes: &[u8]| run(name, bytes, SpecialTokens::Parse).0.unwrap_err().message;
    let latin = message("latin", b"In the beginning\nfa\xe7ade");
    assert!(latin.contains("the byte 0xe7 at offset 19, in line 2; convert it"), "{latin}");
    let wide = message("wide", b"\xff\xfeI\0n\0");
    assert!(wide.contains("is UTF-16 text"), "{wide}");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1290000\n";
    let pointer = message("pointer", pointer);
    assert!(pointer.contains("a Git LFS pointer") && pointer.contains("1.3 MB"), "{pointer}");
    let short = message("short", b"In the beginning");
    assert!(short.contains("tokens; one window needs 128"), "{short}");
    let marked = format!("\u{feff}{}", MESSAGE.repeat(5));
    let (result, warnings) = run("marked", marked.as_bytes(), SpecialTokens::Parse);
    result.unwrap();
    assert!(warnings[0].contains("begins with a byte order mark"), "{warnings:?}");
}
