//! The forward pass against transformers' logits and llama.cpp's perplexity, and against itself:
//! 8-bit activations against exact ones, one thread against several, one chunk against many.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use common::Nano;
use qrun::gguf::{File, TensorSource};
use qrun::model::sampler::Sampling;
use qrun::model::{Generation, KvCacheType, LogitsFor, Model, ModelError, ModelOptions, generate};
use qrun::stats::divergence::{Divergence, KlSummary, TokenDivergence};
use qrun::stats::perplexity::log_softmax;
use qrun::steps::NativeMxfp4;
use qrun::tokenizer::{Special, Tokenizer};
use safetensors::SafeTensors;

fn load(path: &Utf8Path, threads: usize, exact: bool) -> Model {
    load_with(path, &ModelOptions { threads, exact, kv_cache: None })
}

fn load_with(path: &Utf8Path, options: &ModelOptions) -> Model {
    Model::load(Arc::new(File::open(path).unwrap()), options).unwrap()
}

/// What transformers computed in fp32.
struct Reference {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    /// A row per position.
    logits: Vec<f32>,
    greedy_after_160: Vec<u32>,
}

fn reference() -> Reference {
    let bytes = std::fs::read("tests/fixtures/oracle/reference_logits.safetensors").unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers =
        |name: &str| -> Vec<[u8; 4]> { file.tensor(name).unwrap().data().as_chunks().0.to_vec() };
    let ids = |name| numbers(name).into_iter().map(u32::from_le_bytes).collect::<Vec<u32>>();
    Reference {
        tokens: ids("tokens"),
        positions: ids("positions").into_iter().map(|p| p as usize).collect(),
        logits: numbers("logits").into_iter().map(f32::from_le_bytes).collect(),
        greedy_after_160: ids("greedy_after_160"),
    }
}

#[test]
fn exact_logits_are_those_of_transformers() {
    let reference = reference();
    let model = load(&Nano::new().f32(), 2, true);
    let vocab = model.vocab_size();
    let mut session = model.session(reference.tokens.len()).unwrap();
    let logits = session.forward(&reference.tokens, LogitsFor::All).unwrap();
    let mut worst = 0f32;
    assert_eq!(reference.positions.len(), 48);
    for (expected, &position) in reference.logits.chunks(vocab).zip(&reference.positions) {
        for (a, b) in logits[position * vocab..][..vocab].iter().zip(expected) {
            worst = worst.max((a - b).abs());
        }
    }
    println!("largest difference of a logit: {worst}");
    assert!(worst < 1e-3, "{worst}");
}

#[test]
fn exact_greedy_tokens_are_those_of_transformers() {
    let reference = reference();
    let model = load(&Nano::new().f32(), 2, true);
    let mut session = model.session(160 + 48).unwrap();
    let generation = Generation { max_tokens: 48, sampling: Sampling::GREEDY, stop: &[] };
    let mut seen = Vec::new();
    let prompt = &reference.tokens[..160];
    let generated = generate(&mut session, prompt, &generation, |token| {
        assert!(token.runner_up.unwrap().1 <= token.logit);
        seen.push(token.id);
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(generated.unwrap(), reference.greedy_after_160);
    assert_eq!(seen, reference.greedy_after_160);
}

/// All logits of `tokens`, read in pieces of these sizes, the rest in one.
fn logits_in_pieces(model: &Model, tokens: &[u32], pieces: &[usize]) -> Vec<u32> {
    let mut session = model.session(tokens.len()).unwrap();
    let mut bits = Vec::new();
    let mut rest = tokens;
    for &piece in pieces.iter().chain([&usize::MAX]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        let logits = session.forward(now, LogitsFor::All).unwrap();
        bits.extend(logits.iter().map(|l| l.to_bits()));
        rest = later;
    }
    bits
}

/// The numbers must not depend on threads or on how a text is cut: 600 tokens are more than a
/// chunk, more than two tiles of keys, and far more than the sliding window.
#[test]
fn numbers_depend_neither_on_threads_nor_on_chunks() {
    let mut tokens = reference().tokens;
    tokens.extend_from_within(..280);
    let nano = Nano::new();
    let requantized = nano.quantized("q4_K_M", NativeMxfp4::Requantize);
    for (path, exact) in [(nano.f32(), false), (nano.f32(), true), (requantized, false)] {
        let model = load(&path, 1, exact);
        let expected = logits_in_pieces(&model, &tokens, &[]);
        assert!(expected == logits_in_pieces(&model, &tokens, &[1, 6, 130, 200, 1]), "{path}");
        let threads = load(&path, 3, exact);
        assert!(expected == logits_in_pieces(&threads, &tokens, &[]), "{path}");
        assert!(expected == logits_in_pieces(&threads, &tokens, &[512, 3]), "{path}");
        let one_by_one = vec![1; 300];
        assert!(expected == logits_in_pieces(&model, &tokens, &one_by_one), "{path}");
    }
}

#[test]
fn a_truncated_session_forgets() {
    let tokens = reference().tokens;
    let model = load(&Nano::new().f32(), 2, false);
    let mut session = model.session(200).unwrap();
    let expected = session.forward(&tokens[..150], LogitsFor::Last).unwrap().to_vec();
    session.truncate(20).unwrap();
    assert_eq!(session.position(), 20);
    session.forward(&tokens[200..300], LogitsFor::None).unwrap();
    session.truncate(20).unwrap();
    let again = session.forward(&tokens[20..150], LogitsFor::Last).unwrap();
    assert!(expected == again);
}

/// The first tokens of a real text.
fn text(path: &Utf8Path, count: usize) -> Vec<u32> {
    let tokenizer = Tokenizer::from_gguf(File::open(path).unwrap().metadata()).unwrap();
    let text = std::fs::read_to_string("tests/fixtures/corpus/kjv.txt").unwrap();
    let mut tokens = tokenizer.encode(&text, Special::AsText);
    tokens.truncate(count);
    assert_eq!(tokens.len(), count);
    tokens
}

/// The sliding layers keep 640 positions (a window of 128 and a chunk of 512): 1000 tokens
/// overwrite some of them.
#[test]
fn a_long_text_is_the_same_in_any_pieces_and_after_going_back() {
    let nano = Nano::new();
    let path = nano.f32();
    let tokens = text(&path, 1000);
    for kv_cache in [None, Some(KvCacheType::Q8_0)] {
        let options = ModelOptions { threads: 2, exact: false, kv_cache };
        let model = load_with(&path, &options);
        let expected = logits_in_pieces(&model, &tokens, &[]);
        if kv_cache.is_none() {
            assert!(expected == logits_in_pieces(&model, &tokens, &[1; 1000]));
        }
        let three = load_with(&path, &ModelOptions { threads: 3, ..options });
        assert!(expected == logits_in_pieces(&three, &tokens, &[700, 5, 64, 130]));

        let vocab = model.vocab_size();
        let mut session = model.session(1000).unwrap();
        session.forward(&tokens, LogitsFor::None).unwrap();
        // Positions up to 359 are overwritten, and the token at 487 sees those from 360 on.
        let message = session.truncate(486).unwrap_err().to_string();
        assert!(message.contains("after 486 tokens"), "{message}");
        assert!(message.contains("keep 487 tokens or more"), "{message}");
        assert_eq!(session.position(), 1000);
        for _ in 0..2 {
            session.truncate(487).unwrap();
            session.forward(&tokens[..13], LogitsFor::None).unwrap();
            session.truncate(487).unwrap();
            let logits = session.forward(&tokens[487..900], LogitsFor::All).unwrap();
            let same = logits.iter().map(|l| l.to_bits());
            assert!(same.eq(expected[487 * vocab..900 * vocab].iter().copied()));
        }
        session.clear();
        let logits = session.forward(&tokens, LogitsFor::All).unwrap();
        assert!(logits.iter().map(|l| l.to_bits()).eq(expected));
    }
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let nano = Nano::new();
    let model = load(&nano.f32(), 1, false);
    assert_eq!(model.context_length(), 131_072);
    // Two of four layers keep all tokens: 131072 x 2 layers x 2 heads x 64 x 2 x 2 bytes.
    let needed = model.session_memory(131_072);
    let sliding = 2 * 640 * 2 * 64 * 2 * 2;
    assert_eq!(needed.cache, 131_072 * 1024 + sliding);
    assert!((1 << 20..64 << 20).contains(&needed.buffers), "{needed:?}");
    assert!(model.session(131_072).is_ok());
    let error = ModelError::Memory { tokens: 131_072, needed, available: 1_000_000 };
    let message = error.to_string();
    assert!(message.contains("(134.9 MB for the KV cache"), "{message}");
    assert!(message.contains("1.0 MB are available; ask for fewer tokens"), "{message}");
    assert!(message.contains("--kv-cache q8_0"), "{message}");
}

#[test]
fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let tokens = reference().tokens;
    let model = load(&Nano::new().f32(), 1, false);
    assert!(matches!(model.session(usize::MAX), Err(ModelError::TooLong { .. })));
    let mut session = model.session(10).unwrap();
    session.forward(&tokens[..8], LogitsFor::None).unwrap();
    let full = session.forward(&tokens[..3], LogitsFor::Last).unwrap_err();
    assert_eq!(full.to_string(), "8 of the session's 10 tokens are taken: no room for 3 more");
    let token = session.forward(&[3, 2048], LogitsFor::Last).unwrap_err();
    assert_eq!(token.to_string(), "token 2048 is outside of the vocabulary of 2048");
    assert_eq!(session.position(), 8);
    assert!(session.forward(&[], LogitsFor::Last).unwrap().is_empty());
    session.forward(&tokens[8..10], LogitsFor::Last).unwrap();

    let generation = Generation { max_tokens: 3, sampling: Sampling::GREEDY, stop: &[] };
    let mut session = model.session(10).unwrap();
    let empty = generate(&mut session, &[], &generation, |_| std::ops::ControlFlow::Continue(()));
    assert!(matches!(empty, Err(ModelError::EmptyPrompt)));
}

/// A model whose metadata or tensors are not what the architecture asks for.
#[test]
fn a_wrong_model_is_refused_by_name() {
    struct Broken {
        file: File,
        metadata: qrun::gguf::Metadata,
        tensors: Vec<qrun::gguf::TensorInfo>,
    }
    impl TensorSource for Broken {
        fn metadata(&self) -> &qrun::gguf::Metadata {
            &self.metadata
        }
        fn tensors(&self) -> &[qrun::gguf::TensorInfo] {
            &self.tensors
        }
        fn read_rows(
            &self,
            tensor: usize,
            rows: std::ops::Range<usize>,
            out: &mut [u8],
        ) -> Result<(), qrun::gguf::SourceError> {
            self.file.read_rows(tensor, rows, out)
        }
        fn bytes(&self, tensor: usize) -> Option<&[u8]> {
            self.file.bytes(tensor)
        }
    }
    let nano = Nano::new();
    let path = nano.f32();
    let error = |change: &dyn Fn(&mut Broken)| {
        let file = File::open(&path).unwrap();
        let (metadata, tensors) = (file.metadata().clone(), file.tensors().to_vec());
        let mut broken = Broken { file, metadata, tensors };
        change(&mut broken);
        let options = ModelOptions { threads: 1, exact: false, kv_cache: None };
        Model::load(Arc::new(broken), &options).err().unwrap().to_string()
    };
    let message = error(&|b| b.metadata.set("general.architecture", value("llama")));
    assert_eq!(message, "general.architecture is \"llama\"; this build computes gpt-oss only");
    let message = error(&|b| {
        b.metadata.remove("gpt-oss.expert_count");
    });
    assert!(message.contains("gpt-oss.expert_count is missing"), "{message}");
    let message = error(&|b| rename(&mut b.tensors, "blk.2.attn_sinks.weight", "nothing"));
    assert!(message.starts_with("tensor blk.2.attn_sinks.weight is missing"), "{message}");
    let message = error(&|b| {
        let t = b.tensors.iter_mut().find(|t| t.name == "blk.1.attn_k.weight").unwrap();
        t.shape[1] = 64;
    });
    assert!(message.contains("blk.1.attn_k.weight has shape [192, 64]"), "{message}");
    assert!(message.contains("asks for [192, 128]"), "{message}");
}

fn value(text: &str) -> qrun::gguf::Value {
    qrun::gguf::Value::String(text.to_owned())
}

fn rename(tensors: &mut [qrun::gguf::TensorInfo], from: &str, to: &str) {
    let tensor = tensors.iter_mut().find(|t| t.name == from).unwrap();
    tensor.name = to.into();
}

/// The divergence of one model from another, window after window of a text.
fn divergence(of: &Model, from: &Model, tokens: &[u32]) -> KlSummary {
    const CONTEXT: usize = 512;
    let vocab = of.vocab_size();
    let mut divergence = Divergence::default();
    let [mut q_session, mut p_session] = [of, from].map(|m| m.session(CONTEXT).unwrap());
    let (mut p, mut q) = (vec![0.0; vocab], vec![0.0; vocab]);
    for window in tokens.chunks_exact(CONTEXT) {
        for session in [&mut p_session, &mut q_session] {
            session.clear();
            session.forward(&window[..CONTEXT / 2], LogitsFor::None).unwrap();
            session.forward(&window[CONTEXT / 2..CONTEXT - 1], LogitsFor::All).unwrap();
        }
        let rows =
            p_session.logits().chunks_exact(vocab).zip(q_session.logits().chunks_exact(vocab));
        for (a, b) in rows {
            log_softmax(a, &mut p);
            log_softmax(b, &mut q);
            divergence.add(TokenDivergence::of(&p, &q));
        }
    }
    divergence.summary().unwrap()
}

/// 8-bit activations and half-precision keys and values against none of that, beside how far
/// llama.cpp is off (`scripts/compare_divergence.py`).
fn default_mode_is_closer_than_llama_cpp(model: &Utf8Path, name: &str) {
    let oracle = include_str!("fixtures/oracle/default_divergence.json");
    let oracle: serde_json::Value = serde_json::from_str(oracle).unwrap();
    let theirs = oracle[name]["llama.cpp"].as_f64().unwrap();
    let [exact, default] = [true, false].map(|exact| load(model, 2, exact));
    let summary = divergence(&default, &exact, &text(model, 56 * 512));
    println!("{name}, default against exact: {summary:?}; llama.cpp's mean: {theirs}");
    assert!(summary.mean <= theirs, "{name}: {summary:?}, llama.cpp's mean: {theirs}");
    assert!(summary.mean > 1e-6, "not what was to be measured: {summary:?}");
    assert!(name != "f32" || summary.mean <= 0.0006, "{summary:?}");
}

#[test]
fn default_mode_of_f32_is_closer_than_llama_cpp() {
    default_mode_is_closer_than_llama_cpp(&Nano::new().f32(), "f32");
}

#[test]
fn default_mode_of_quantized_files_is_closer_than_llama_cpp() {
    let nano = Nano::new();
    for name in ["q8_0", "q4_K_M", "q2_K"] {
        let model = nano.quantized(name, NativeMxfp4::Keep);
        default_mode_is_closer_than_llama_cpp(&model, name);
    }
}

/// Keys and values in 8 bits move the probabilities less than 8-bit activations do, and those in
/// half precision next to nothing.
#[test]
fn a_smaller_cache_costs_little() {
    let nano = Nano::new();
    let path = nano.f32();
    let load = |kv_cache| load_with(&path, &ModelOptions { threads: 2, exact: true, kv_cache });
    let exact = load(None);
    let tokens = text(&path, 4 * 512);
    let of = |kind| divergence(&load(Some(kind)), &exact, &tokens);
    let (f16, q8_0) = (of(KvCacheType::F16), of(KvCacheType::Q8_0));
    println!("f16: {f16:?}\nq8_0: {q8_0:?}");
    assert!(f16.mean <= 1e-6, "{f16:?}");
    assert!(q8_0.mean <= 5e-4 && q8_0.mean > f16.mean, "{q8_0:?}");
}

#[test]
fn a_session_stops_within_its_tokens_and_goes_on_as_if_it_had_not_read_them() {
    let reference = reference();
    let model = load(&Nano::new().f32(), 2, false);
    let text = &reference.tokens[..100];
    let mut session = model.session(200).unwrap();
    let expected = session.forward(text, LogitsFor::Last).unwrap().to_vec();
    let stop = AtomicBool::new(true);
    let mut session = model.session(200).unwrap().stopped_by(&stop);
    assert!(matches!(session.forward(text, LogitsFor::Last), Err(ModelError::Interrupted)));
    assert_eq!((session.position(), session.logits().len()), (0, 0));
    stop.store(false, Ordering::Relaxed);
    assert_eq!(session.forward(text, LogitsFor::Last).unwrap(), expected);
}
