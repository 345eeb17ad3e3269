//! Load check, benchmark and comparison on files made from the nano checkpoint, and on damaged ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::fs;
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use qrun::ggml;
use qrun::gguf::{File, TensorSource};
use qrun::steps::{
    BenchSpec, CompareResult, CompareSpec, Context, ConvertDtype, ConvertSpec, ErrorClass, Event,
    EventSink, FormatSpec, NativeMxfp4, OnFallback, QuantizeSource, QuantizeSpec, ReferenceFile,
    TokenizerSource, bench, compare, convert, quantize,
};
use serde_json::Value;

struct Quiet;

impl EventSink for Quiet {
    fn emit(&self, _: Event) {}
}

static RUNNING: AtomicBool = AtomicBool::new(false);

fn context(threads: usize) -> Context<'static> {
    Context::new(&Quiet, &RUNNING, threads)
}

/// The nano model as f32 and as q4_K_M, experts requantized.
struct Files {
    _guard: tempfile::TempDir,
    f32: Utf8PathBuf,
    q4: Utf8PathBuf,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let (guard, directory) = directory();
    let (f32, q4) = (directory.join("f32.gguf"), directory.join("q4.gguf"));
    let spec = ConvertSpec {
        checkpoint: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt-oss-nano").into(),
        tokenizer: TokenizerSource::Checkpoint,
        dtype: ConvertDtype::F32,
        out: (&f32).into(),
        split: None,
        hash_tensors: false,
    };
    convert::run(&spec, &context(2)).unwrap();
    let format =
        FormatSpec { name: "q4".into(), base: "q4_K_M".to_owned(), ..FormatSpec::default() };
    let spec = QuantizeSpec {
        source: QuantizeSource::Gguf((&f32).into()),
        format,
        native_mxfp4: NativeMxfp4::Requantize,
        fallback: OnFallback::Warn,
        provenance: None,
        out: (&q4).into(),
        split: None,
        hash_tensors: false,
    };
    quantize::run(&spec, &context(2)).unwrap();
    Files { _guard: guard, f32, q4 }
});

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
    (guard, path)
}

fn qrun(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qrun")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts that `value` is what the project's schema `name` says.
fn assert_fits(value: &Value, name: &str) {
    let schema = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

/// A copy of `file` in which `change` has seen the bytes of `tensor`.
fn damaged(file: &Utf8Path, to: &Utf8Path, tensor: &str, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(file).unwrap();
    let open = File::open(file).unwrap();
    change(&mut bytes[open.range(open.find(tensor).unwrap())]);
    fs::write(to, bytes).unwrap();
}

#[test]
fn check_passes_a_good_file_and_says_what_it_checked() {
    for file in [&FILES.f32, &FILES.q4] {
        let output = qrun(&["check", "-q", "--json", file.as_str()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["architecture"], "gpt-oss");
        assert_eq!(result["tensors"], 79);
        assert_eq!(result["checks"].as_array().unwrap().len(), 6);
        assert!(!result["sample"].as_str().unwrap().is_empty());
    }
}

#[test]
fn check_names_the_tensor_row_and_column_of_a_nan() {
    let (_guard, dir) = directory();
    let bad = dir.join("bad.gguf");
    damaged(&FILES.f32, &bad, "blk.1.attn_q.weight", |bytes| {
        let at = (5 * 192 + 7) * 4;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let output = qrun(&["check", "-q", bad.as_str()]);
    assert_eq!(output.status.code(), Some(3));
    let message = stderr(&output);
    assert!(
        message.contains("tensor blk.1.attn_q.weight (f32, 256 rows of 192), row 5, column 7"),
        "{message}"
    );
    assert!(message.contains("found NaN"), "{message}");
    // The scale of the tenth block of an MXFP4 tensor, six blocks a row.
    damaged(&FILES.f32, &bad, "blk.2.ffn_up_exps.weight", |bytes| bytes[9 * 17] = 0xff);
    let message = stderr(&qrun(&["check", "-q", bad.as_str()]));
    assert!(
        message.contains("blk.2.ffn_up_exps.weight") && message.contains("row 1, column 96"),
        "{message}"
    );
}

#[test]
fn check_refuses_lost_weights_and_a_cut_file() {
    let (_guard, dir) = directory();
    let bad = dir.join("bad.gguf");
    damaged(&FILES.f32, &bad, "output.weight", |bytes| bytes.fill(0));
    let output = qrun(&["check", "-q", bad.as_str()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("expected them to differ"), "{}", stderr(&output));

    let bytes = fs::read(&FILES.f32).unwrap();
    fs::write(&bad, &bytes[..bytes.len() - 100]).unwrap();
    let output = qrun(&["check", "-q", bad.as_str()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("truncated"), "{}", stderr(&output));
}

#[test]
fn check_ends_when_its_time_is_up() {
    let output = qrun(&["check", "-q", "--timeout", "1ms", FILES.f32.as_str()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("did not finish within 1ms"), "{}", stderr(&output));
}

#[test]
fn every_file_is_looked_at_before_the_first_is_measured() {
    let (q4, kjv) = (FILES.q4.as_str(), "tests/fixtures/corpus/kjv.txt");
    for (arguments, code, expected) in [
        // Measuring the first would take minutes.
        (vec!["bench", q4, "no/such.gguf", "--runs", "1000000"], 3, "no/such.gguf"),
        (vec!["bench", q4, "Cargo.toml", "--runs", "1000000"], 3, "Cargo.toml"),
        (vec!["bench", "--compare", q4, "no/such.gguf", "--runs", "1000000"], 3, "no/such.gguf"),
        (vec!["bench", q4, "--prompt-tokens", "10000000"], 2, "10000032 are asked for"),
        (vec!["evaluate", q4, "--reference", "no/such.gguf", "--corpus", kjv], 3, "no/such.gguf"),
        (vec!["evaluate", q4, "--corpus", kjv, "--corpus", "no/text.txt"], 3, "no/text.txt"),
        (vec!["evaluate", q4, "--corpus", kjv, "--context", "10000000"], 2, "10000000 are asked"),
    ] {
        let started = std::time::Instant::now();
        let output = qrun(&arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && started.elapsed().as_secs() < 60, "{arguments:?}");
    }
}

#[test]
fn bench_prints_json_of_its_schema_for_every_file() {
    let output = qrun(&[
        "bench",
        "-q",
        "--json",
        "--runs",
        "3",
        "--warmups",
        "1",
        "--prompt-tokens",
        "9",
        "--generate-tokens",
        "5",
        FILES.f32.as_str(),
        FILES.q4.as_str(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_fits(&value, "bench");
    assert_eq!(value["qrun_version"], env!("CARGO_PKG_VERSION"));
    assert!(value["created"].as_str().is_some_and(|time| time.ends_with('Z')), "{value}");

    let results = value["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result["latency_ms"]["n"], 3);
        assert_eq!(result["inter_token_latency_ms"]["n"], 12);
        assert_eq!(result["generated"].as_array().unwrap().len(), 5);
        assert_eq!(result["settings"]["prompt_tokens"], 9);
        let number = |name: &str| result[name].as_f64().unwrap();
        let rate = number("decode_bytes_per_token")
            * result["decode_tokens_per_s"]["p50"].as_f64().unwrap();
        assert!((number("decode_gb_per_s") / (rate / 1e9) - 1.0).abs() < 1e-9);
        let share = number("decode_gb_per_s") / number("read_gb_per_s");
        assert!((number("decode_bandwidth_share") / share - 1.0).abs() < 1e-9);
        // The buffer that the bandwidth was measured with is not in it.
        assert!(number("peak_rss_mb") < 200.0, "{}", number("peak_rss_mb"));
        let faults = |run: &Value| run["minor_faults"].as_u64().unwrap();
        let all: u64 = result["samples"].as_array().unwrap().iter().map(faults).sum();
        assert_eq!(result["minor_faults"], all);
        let latency = |r: &Value| r["latency_ms"].as_f64().unwrap();
        for run in result["samples"].as_array().unwrap() {
            let between = run["inter_token_latency_ms"].as_array().unwrap();
            let sum: f64 = between.iter().map(|ms| ms.as_f64().unwrap()).sum();
            let first = run["time_to_first_token_ms"].as_f64().unwrap();
            assert!((first + sum - latency(run)).abs() < 1e-6, "{run}");
        }
    }
    assert!(results[1]["bytes"].as_u64().unwrap() < results[0]["bytes"].as_u64().unwrap());
}

#[test]
fn two_files_in_turns_are_compared() {
    let files = [FILES.f32.as_str(), FILES.q4.as_str()];
    let turns = ["bench", "-q", "--compare", "--warmups", "1", "--runs", "7", "--seed", "5"];
    let sizes = ["--json", "--prompt-tokens", "9", "--generate-tokens", "5"];
    let output = qrun(&[&turns[..], &sizes, &files].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_fits(&value, "bench_pair");
    assert_eq!(value["qrun_version"], env!("CARGO_PKG_VERSION"));
    assert!(value["created"].as_str().unwrap().ends_with('Z'), "{value}");
    assert_eq!((&value["seed"], value["order"].as_array().unwrap().len()), (&5.into(), 7));
    for (side, file) in [("a", files[0]), ("b", files[1])] {
        assert_eq!(value[side]["gguf"], file);
        assert_eq!(value[side]["samples"].as_array().unwrap().len(), 7);
        assert_eq!(value[side]["peak_rss_mb"], Value::Null);
    }
    for respect in ["prefill", "decode", "latency"] {
        let of = |name: &str| value[respect][name].as_f64().unwrap();
        assert!(of("low") <= of("ratio") && of("ratio") <= of("high"), "{}", value[respect]);
        assert!(value[respect]["verdict"].as_str().unwrap().contains("(95% CI "));
    }

    let [a, b] = files;
    let output = qrun(&["bench", "-q", "--compare", "--runs", "2", "--generate-tokens", "1", a, b]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.contains(&format!("A: {a}\nB: {b}\n")) && text.contains("(--seed "), "{text}");
    let verdict = "no difference can be told: B takes";
    assert!(text.contains(verdict) && text.contains("6 or more are needed"), "{text}");
    assert!(!text.contains("decodes"), "one token is no decoding: {text}");
}

#[test]
fn a_comparison_of_other_than_two_models_is_refused() {
    let (f32, none) = (FILES.f32.as_str(), "no/such.gguf");
    for (arguments, code, says) in [
        (&["--compare", f32][..], 2, "takes two files, and here are 1"),
        (&["--compare", f32, f32, f32], 2, "takes two files, and here are 3"),
        (&["--seed", "1", f32], 2, "--compare"),
        (&["--compare", "--runs", "0", f32, f32], 2, "runs is 0"),
        (&["--compare", "--runs", "1001", f32, f32], 2, "expected 1000 or fewer"),
        (&["--compare", f32, none], 3, none),
    ] {
        let output = qrun(&[&["bench", "-q"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn bench_of_nothing_is_refused() {
    for flag in ["--runs", "--prompt-tokens", "--generate-tokens"] {
        let output = qrun(&["bench", "-q", flag, "0", FILES.f32.as_str()]);
        assert_eq!(output.status.code(), Some(2), "{flag}");
    }
    let output = qrun(&["bench", "-q", "--prompt-tokens", "1000000000", FILES.f32.as_str()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("reads texts of at most"), "{}", stderr(&output));
}

/// Sets `stop` when it has seen the end of so many runs.
struct StopAfter {
    runs: AtomicU32,
    stop: AtomicBool,
}

impl EventSink for StopAfter {
    fn emit(&self, event: Event) {
        if matches!(event, Event::Metric { .. }) && self.runs.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_stopped_bench_keeps_its_finished_runs() {
    let (_guard, dir) = directory();
    let gguf = dir.join("model.gguf");
    fs::copy(&FILES.f32, &gguf).unwrap();
    let spec = BenchSpec {
        gguf: (&gguf).into(),
        warmups: 1,
        runs: 5,
        prompt_tokens: 4,
        generate_tokens: 2,
        kv_cache: None,
    };
    let journals = dir.join("journals");
    let stopped = || {
        let events = StopAfter { runs: AtomicU32::new(3), stop: AtomicBool::new(false) };
        let cancelled = &events.stop;
        let journals = Some(journals.clone());
        let ctx = Context { journals, ..Context::new(&events, cancelled, 1) };
        bench::run(&spec, &ctx).unwrap_err()
    };
    let whole = || {
        let ctx = Context { journals: Some(journals.clone()), ..context(1) };
        bench::run(&spec, &ctx).unwrap().measured
    };
    assert_eq!(stopped().class, ErrorClass::Interrupted);
    let result = whole();
    assert_eq!((result.resumed_runs, result.samples.len()), (3, 5));
    // Its journal is gone with the result.
    assert_eq!(whole().resumed_runs, 0);

    // Another file under the name makes the kept runs worthless.
    stopped();
    fs::remove_file(&gguf).unwrap();
    fs::copy(&FILES.q4, &gguf).unwrap();
    assert_eq!(whole().resumed_runs, 0);
}

fn comparison(file: &Utf8Path, reference: &Utf8Path) -> CompareSpec {
    let reference = ReferenceFile { name: "reference".to_owned(), gguf: reference.into() };
    CompareSpec { gguf: file.into(), reference, greedy_tokens: 24 }
}

fn compared(file: &Utf8Path, reference: &Utf8Path, threads: usize) -> CompareResult {
    compare::run(&comparison(file, reference), &context(threads)).unwrap()
}

#[test]
fn a_file_compared_with_itself_is_identical() {
    let result = compared(&FILES.q4, &FILES.q4, 2);
    assert_eq!((result.tensor_error.tensors, result.tensor_error.identical), (79, 79));
    assert_eq!(result.tensor_error.relative_rmse, 0.0);
    assert_eq!((result.greedy.agreeing_prefix, result.greedy.share), (24, 1.0));
    assert!(result.tensor_error.worst.is_empty() && result.type_differences.is_empty());
}

#[test]
fn comparisons_that_are_made_together_are_those_made_alone() {
    let (_guard, directory) = directory();
    let bad = directory.join("bad.gguf");
    damaged(&FILES.q4, &bad, "blk.1.attn_q.weight", |bytes| bytes[..4].fill(0xff));
    let (f32, q4) = (FILES.f32.as_path(), FILES.q4.as_path());
    let missing = directory.join("missing.gguf");
    let specs = [(q4, f32), (&bad, f32), (q4, q4), (f32, q4), (&missing, f32), (q4, f32)];
    let specs = specs.map(|(file, reference)| comparison(file, reference));
    let ctx = context(2);
    let together = compare::run_all(&specs.each_ref().map(|spec| (spec, &ctx)));
    for (spec, together) in specs.iter().zip(together) {
        let alone = compare::run(spec, &ctx).map_err(|e| (e.class, e.message));
        assert_eq!(together.map_err(|e| (e.class, e.message)), alone, "{}", spec.gguf);
        assert_eq!(alone.is_err(), *spec.gguf == bad || *spec.gguf == missing, "{alone:?}");
    }
}

#[test]
fn files_of_one_digest_are_known_to_be_the_same_without_reading_them() {
    let (_guard, directory) = directory();
    let copy = directory.join("copy.gguf");
    fs::copy(&FILES.q4, &copy).unwrap();
    let spec = comparison(&copy, &FILES.q4);
    let mut ctx = context(2);
    let read = compare::run(&spec, &ctx).unwrap();
    ctx.digests = [&copy, &FILES.q4].map(|file| (file.clone(), "d".repeat(64))).into();
    // Were they read, the first weight that is no number would be an error.
    damaged(&FILES.q4, &copy, "blk.1.attn_q.weight", |bytes| bytes.fill(0xff));
    assert_eq!(compare::run(&spec, &ctx).unwrap(), read);
    ctx.digests.insert(copy, "e".repeat(64));
    assert_eq!(compare::run(&spec, &ctx).unwrap_err().class, ErrorClass::Input);
}

#[test]
fn a_comparison_measures_what_quantizing_did() {
    let result = compared(&FILES.q4, &FILES.f32, 2);
    assert_eq!(result, compared(&FILES.q4, &FILES.f32, 3));
    assert_eq!(result.bytes, fs::metadata(&FILES.q4).unwrap().len());
    assert!(result.bits_per_weight < result.reference_bits_per_weight);
    assert_eq!(result.types.values().sum::<usize>(), 79);
    assert_eq!(result.reference_types["mxfp4"], 12);
    let errors = &result.tensor_error;
    assert_eq!(errors.tensors, errors.identical + result.type_differences.len());
    assert_eq!(errors.worst.len(), 10);
    assert!(errors.worst.windows(2).all(|w| w[0].relative_rmse >= w[1].relative_rmse));

    // The worst tensor again, without chunks and threads.
    let worst = &errors.worst[0];
    let weights = |path: &Utf8Path| {
        let file = File::open(path).unwrap();
        let at = file.find(&worst.name).unwrap();
        let info = &file.tensors()[at];
        let mut weights = vec![0.0; info.elements() as usize];
        ggml::dequantize(info.computable().unwrap(), file.data(at), &mut weights).unwrap();
        weights
    };
    let (mine, theirs) = (weights(&FILES.q4), weights(&FILES.f32));
    let difference = |(a, b): (&f32, &f32)| f64::from(*a) - f64::from(*b);
    let squared: f64 = mine.iter().zip(&theirs).map(difference).map(|d| d * d).sum();
    let reference: f64 = theirs.iter().map(|w| f64::from(*w).powi(2)).sum();
    assert!((worst.relative_rmse - (squared / reference).sqrt()).abs() < 1e-12);
    let largest = mine.iter().zip(&theirs).map(difference).fold(0.0f64, |m, d| m.max(d.abs()));
    assert_eq!(worst.max_abs, largest);
    assert!(worst.relative_rmse > 0.01 && worst.relative_rmse < 0.3, "{worst:?}");
    assert!(result.greedy.share > 0.5, "{:?}", result.greedy);
}
