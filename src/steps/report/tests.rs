//! The report from made-up results: what stands in it, and that it is the same every time.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use super::*;
use crate::stats::Distribution;
use crate::steps::testing::{Recorder, context};
use crate::steps::*;

fn host() -> HostFacts {
    HostFacts {
        cpu_model: "Testium 9000".to_owned(),
        architecture: "x86_64".to_owned(),
        cores: 8,
        threads: 16,
        features: vec!["avx2".to_owned(), "fma".to_owned()],
        ram_bytes: 64_000_000_000,
        memory_limit: None,
        available_ram_bytes: 60_000_000_000,
        kernel: "6.1.0".to_owned(),
        governor: Some("performance".to_owned()),
        load_1m: 0.25,
    }
}

/// Ten runs around `ms`.
fn bench(gguf: &str, ms: f64) -> Value {
    let samples: Vec<RunSample> = (0..10)
        .map(|i| {
            let latency = ms * (1.0 + 0.001 * (f64::from(i) - 4.5));
            let token = latency / 4.0;
            RunSample {
                latency_ms: latency,
                time_to_first_token_ms: token,
                inter_token_latency_ms: vec![token; 3],
                minor_faults: Some(0),
                major_faults: Some(0),
            }
        })
        .collect();
    let of = |f: &dyn Fn(&RunSample) -> f64| {
        Distribution::of(&samples.iter().map(f).collect::<Vec<_>>()).unwrap()
    };
    let result = BenchResult {
        gguf: gguf.into(),
        bytes: 1_200_000,
        bits_per_weight: 4.5,
        measured: Measurements {
            settings: BenchSettings {
                warmups: 3,
                runs: 10,
                prompt_tokens: 128,
                generate_tokens: 4,
                threads: 2,
            },
            host: host(),
            load_ms: 12.5,
            latency_ms: of(&|s| s.latency_ms),
            time_to_first_token_ms: of(&|s| s.time_to_first_token_ms),
            inter_token_latency_ms: Some(of(&|s| s.inter_token_latency_ms[0])),
            prefill_tokens_per_s: of(&|s| 128e3 / s.time_to_first_token_ms),
            decode_tokens_per_s: Some(of(&|s| 1e3 / s.inter_token_latency_ms[0])),
            decode_bytes_per_token: Some(400_000),
            decode_gb_per_s: Some(1.2),
            read_gb_per_s: Some(20.0),
            decode_bandwidth_share: Some(0.06),
            peak_rss_mb: Some(345.6),
            rss_anon_mb: Some(100.0),
            rss_file_mb: Some(200.0),
            minor_faults: Some(7),
            major_faults: Some(0),
            clock_mhz: None,
            noise: Noise {
                quiet: true,
                reasons: Vec::new(),
                other_cpu_share: Some(0.01),
                stolen_cpu_share: Some(0.0),
            },
            resumed_runs: 0,
            generated: vec![1, 2, 3, 4],
            samples,
        },
    };
    serde_json::to_value(result).unwrap()
}

fn evaluation(kl: f64, agreement: f64) -> Value {
    let distance = json!({"kl_divergence": {"mean": kl, "median": kl, "p99": kl, "max": kl},
        "top_token_agreement": agreement, "perplexity": 30.0});
    json!({"tokens": 1024, "windows": 4, "perplexity": 31.5, "perplexity_stderr": 0.5,
        "references": {"unquantized": distance.clone(), "stability": distance}})
}

fn compared() -> Value {
    json!({
        "bytes": 1_200_000, "reference_bytes": 1_000_000,
        "bits_per_weight": 4.5, "reference_bits_per_weight": 4.0,
        "types": {"f32": 3, "q4_K": 2}, "reference_types": {"f32": 3, "q4_0": 2},
        "type_differences": [
            {"name": "output.weight", "type": "q4_K", "reference_type": "q4_0"},
            {"name": "blk.0.attn_q.weight", "type": "q4_K", "reference_type": "q4_0"}],
        "unmatched": [],
        "tensor_error": {"tensors": 5, "identical": 3, "relative_rmse": 0.03,
            "median_relative_rmse": 0.0, "worst": [{"name": "output.weight", "type": "q4_K",
            "reference_type": "q4_0", "relative_rmse": 0.07, "max_abs": 0.5}]},
        "greedy": {"tokens": 32, "agreeing_prefix": 20, "share": 0.9375}
    })
}

fn candidate(name: &str, ms: f64, kl: f64) -> ReportCandidate {
    let gguf = format!("out/nano-{name}.gguf");
    ReportCandidate {
        name: name.to_owned(),
        format: FormatSpec {
            name: name.into(),
            base: "q4_K_S".to_owned(),
            ..FormatSpec::default()
        },
        baseline: name == "q4_K_M",
        quantize: Ended {
            took: Some((1_795_802_400_000, 7_000)),
            ..ended(
                &format!("quantize:{name}"),
                json!({"output": {"path": gguf, "bytes": 1_200_000, "sha256": "ab".repeat(32)},
            "tensors": [{"name": "output.weight", "type": "q4_K", "bytes": 9, "sha256": ""}],
            "resumed_tensors": 0, "bits_per_weight": 4.5}),
            )
        },
        load_check: ended(
            &format!("load_check:{name}"),
            json!({"architecture": "gpt-oss", "tensors": 5, "load_ms": 1.0,
                "sample": "and", "checks": ["loads"]}),
        ),
        bench: ended(&format!("bench:{name}"), bench(&gguf, ms)),
        evaluate: Some(ended(&format!("evaluate:{name}"), evaluation(kl, 0.95))),
        compare: BTreeMap::from([("stability".to_owned(), compare(name, compared()))]),
    }
}

fn ended(step: &str, result: Value) -> Ended {
    Ended { result: Some(result), ..Ended::of(step) }
}

fn compare(name: &str, result: Value) -> Ended {
    ended(&format!("compare:{name}:stability"), result)
}

fn failed(step: &str, why: &str) -> Ended {
    Ended { failure: Some(why.to_owned()), ..Ended::of(step) }
}

fn spec(dir: &Utf8Path) -> ReportSpec {
    let mut broken = candidate("q4_K-broken", 1.0, 0.0);
    broken.load_check = failed("load_check:q4_K-broken", "tensor output.weight,\nrow 7: NaN");
    (broken.bench, broken.evaluate) = (Ended::of("bench:q4_K-broken"), None);
    broken.bench.skipped = true;
    broken.compare.clear();
    let mut fast = candidate("q4_K-fast", 80.0, 0.021);
    fast.quantize.result.as_mut().unwrap()["warnings"] = json!(["no chat template"]);
    ReportSpec {
        job: "nano".to_owned(),
        command: "qrun jobs/nano.toml".to_owned(),
        qrun_version: env!("CARGO_PKG_VERSION").to_owned(),
        convert: Some(ended("convert", json!({"warnings": ["no chat template"]}))),
        candidates: vec![candidate("q4_K_M", 100.0, 0.02), fast, broken],
        references: vec![ReportReference {
            name: "stability".to_owned(),
            gguf: "models/stability.gguf".into(),
            given: Some(NamedFile {
                sha256: Some("cd".repeat(32)),
                ..NamedFile::from("models/stability.gguf")
            }),
            quantize: None,
            bench: ended("bench:ref:stability", bench("models/stability.gguf", 101.0)),
        }],
        bench_json: dir.join("bench/bench_results_full.json").into(),
        dir: dir.join("reports").into(),
        missing_references: BTreeMap::from([("quality".to_owned(), "models/absent.gguf".into())]),
        checkpoint: "models/nano".into(),
        made_from: vec![
            input_file("manifest", "jobs/nano.toml", Some(1200)),
            input_file("input.checkpoint/config.json", "models/nano/config.json", Some(800)),
            input_file("imatrix[0]", "models/imatrix.gguf", Some(25_000)),
            input_file("evaluate.corpus[0]", "data/kjv.txt", None),
            input_file("reference.stability", "models/stability.gguf", Some(1_200_000)),
        ],
        publish: Some(ReportPublish {
            to: "models/published".into(),
            formats: ["q4_K_M", "q4_K-fast", "q4_K-broken"].map(String::from).to_vec(),
            failed_too: false,
            if_recommended: vec!["q4_K_M".to_owned(), "q4_K-fast".to_owned()],
        }),
    }
}

/// A file that went in; without `bytes` one that was changed meanwhile.
fn input_file(name: &str, path: &str, bytes: Option<u64>) -> MadeFrom {
    let sha256 = bytes.map(|_| "ef".repeat(32));
    MadeFrom { name: name.to_owned(), file: NamedFile { path: path.into(), bytes, sha256 } }
}

fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
    (guard, path)
}

fn report(spec: &ReportSpec) -> ReportResult {
    run_at(spec, &context(&Recorder::new()), "2026-11-27T19:00:00Z".parse().unwrap()).unwrap()
}

#[test]
fn the_report_reads_as_it_should() {
    let (_guard, dir) = directory();
    report(&spec(&dir));
    insta::assert_snapshot!(fs::read_to_string(dir.join("reports/README-nano.md")).unwrap());
}

#[test]
fn the_same_results_give_the_same_bytes() {
    let (_guard, dir) = directory();
    let first = report(&spec(&dir));
    let second = report(&spec(&dir));
    assert_eq!(first.markdown, second.markdown);
    assert_eq!(first.json, second.json);
    assert_eq!(first.json[0].sha256, first.json[1].sha256);
    assert!(dir.join("reports/bench_results_full.json").is_file());
}

#[test]
fn the_json_can_be_read_back_and_keeps_its_names() {
    let (_guard, dir) = directory();
    report(&spec(&dir));
    let text = fs::read_to_string(dir.join("bench/bench_results_full.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let first = &value["results"][0];
    assert_eq!(first["name"], "q4_K_M");
    assert_eq!(first["role"], "baseline");
    assert_eq!(first["latency_ms"]["n"], 10);
    assert!(first["latency_ms"]["p95"].is_f64());
    assert_eq!(first["peak_rss_mb"], 345.6);
    assert_eq!(value["results"][2]["loads"], false);
    assert_eq!(value["comparisons"][0]["greedy"]["agreeing_prefix"], 20);
    assert_eq!(value["recommendation"]["format"], "q4_K-fast");
    assert_eq!(value["qrun_version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["created"], "2026-11-27T19:00:00Z");
    assert_eq!(value["results"][0]["made"]["finished"], "2026-11-27T18:00:07Z");
    assert_eq!(value["references"][0]["sha256"], "cd".repeat(32));
    assert_eq!(value["made_from"][2]["name"], "imatrix[0]");
    assert_eq!(value["made_from"][2]["sha256"], "ef".repeat(32));
    assert_eq!(value["publish"]["formats"], json!(["q4_K-fast"]));
    assert_eq!(value["publish"]["left_out"]["q4_K_M"], "it is not recommended");
    let validator = jsonschema::validator_for(&BenchDocument::schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let document: BenchDocument = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), value);
}

#[test]
fn a_job_without_benchmarks_or_evaluation_still_has_a_report() {
    let (_guard, dir) = directory();
    let mut spec = spec(&dir);
    for candidate in &mut spec.candidates {
        (candidate.bench.result, candidate.evaluate) = (None, None);
        candidate.quantize.result = None;
    }
    (spec.references[0].bench.result, spec.candidates[0].compare) = (None, BTreeMap::new());
    let result = report(&spec);
    assert_eq!(result.recommendation.verdict, Advice::Undecided);
    let text = fs::read_to_string(result.markdown.path).unwrap();
    assert!(text.contains("RAM") && text.contains("No recommendation"), "{text}");
}

#[test]
fn a_format_that_does_not_load_is_never_recommended_however_fast() {
    let (_guard, dir) = directory();
    let mut spec = spec(&dir);
    spec.candidates[1].load_check = failed("load_check:q4_K-fast", "tensor output.weight: NaN");
    let recommendation = report(&spec).recommendation;
    assert_eq!(recommendation.format.as_deref(), Some("q4_K_M"));
    assert!(recommendation.reason.contains("output.weight"), "{}", recommendation.reason);
}

#[test]
fn a_reference_with_the_same_weights_says_how_large_the_noise_is() {
    let (_guard, dir) = directory();
    let mut spec = spec(&dir);
    // The baseline's twin, measured 30% faster.
    spec.references[0].bench.result = Some(bench("models/stability.gguf", 70.0));
    assert_eq!(report(&spec).recommendation.verdict, Advice::Take);
    let mut same = compared();
    same["tensor_error"]["identical"] = json!(5);
    spec.candidates[0].compare.insert("stability".to_owned(), compare("q4_K_M", same));
    let recommendation = report(&spec).recommendation;
    assert_eq!(recommendation.verdict, Advice::Keep);
    let reason = recommendation.reason;
    assert!(reason.contains("30.0% by which q4_K_M and stability differ"), "{reason}");
}

#[test]
fn logs_of_a_format_are_joined_and_a_lost_one_is_named() {
    let (_guard, dir) = directory();
    fs::write(dir.join("quantize.log"), "one").unwrap();
    let mut spec = spec(&dir);
    spec.candidates[1].quantize.log = Some(dir.join("quantize.log"));
    spec.candidates[1].bench.log = Some(dir.join("bench.log"));
    let result = report(&spec);
    let text = fs::read_to_string(dir.join("reports/nano-q4_K-fast.log")).unwrap();
    assert!(text.starts_with("==> quantize.log <==\none\n\n==> bench.log <==\n(cannot"), "{text}");
    assert_eq!(result.logs.len(), 1);
}

#[test]
fn a_result_of_another_kind_is_refused_by_the_name_of_its_step() {
    let (_guard, dir) = directory();
    let mut spec = spec(&dir);
    spec.candidates[1].bench.result = Some(json!({"gguf": 7}));
    let error = super::run(&spec, &context(&Recorder::new())).unwrap_err();
    assert!(error.message.contains("--force bench:q4_K-fast"), "{error}");
    assert!(!dir.join("bench").exists());
}
