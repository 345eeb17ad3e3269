//! The schema and the manifests that the project ships.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use qrun::manifest::{Job, ReferenceOrigin};
use serde_json::Value;

fn root() -> &'static Utf8Path {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema() -> Value {
    let text = std::fs::read_to_string(root().join("schemas/job.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_schema_in_the_tree_is_what_qrun_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_qrun")).arg("schema").output().unwrap();
    assert!(output.status.success());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema(), printed, "cargo run -- schema > schemas/job.schema.json");
}

#[test]
fn every_manifest_in_jobs_is_valid_for_the_schema_and_for_qrun() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut seen = 0;
    for entry in root().join("jobs").read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.extension() != Some("toml") {
            continue;
        }
        seen += 1;
        let value: Value = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{path}: {errors:?}");
        if let Err(e) = Job::load(&path) {
            panic!("{:?}", miette::Report::new(e));
        }
    }
    assert!(seen >= 2);
}

#[test]
fn the_schema_refuses_what_qrun_refuses() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let text = std::fs::read_to_string(root().join("jobs/gpt-oss-nano.toml")).unwrap();
    let whole: Value = toml::from_str(&text).unwrap();
    assert!(validator.is_valid(&whole));
    let changes: [fn(&mut Value); 10] = [
        |v| v["bench"]["warmup"] = 1.into(),
        |v| v["bench"]["runs"] = 0.into(),
        |v| v["convert"]["dtype"] = "fp16".into(),
        |v| v["input"]["sha256"]["config.json"] = "12".into(),
        |v| v["format"][0]["tensors"] = serde_json::json!([{ "match": "x" }]),
        |v| v["format"][0]["tensors"] = serde_json::json!([{ "match": "x", "type": "q4_KX" }]),
        |v| v["format"][0]["output_tensor_type"] = "q4_K_M".into(),
        |v| v["format"][0]["name"] = "q4_KX".into(),
        |v| v["format"][1]["base"] = "q4_KX".into(),
        |v| v["reference"][0]["format"] = "q9_0".into(),
    ];
    for change in changes {
        let mut value = whole.clone();
        change(&mut value);
        assert!(!validator.is_valid(&value), "{value}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.toml");
        std::fs::write(&path, toml::to_string(&value).unwrap()).unwrap();
        assert!(load(&path).is_err(), "{value}");
    }
}

#[test]
fn the_schema_takes_the_names_that_qrun_takes() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let text = std::fs::read_to_string(root().join("jobs/gpt-oss-nano.toml")).unwrap();
    let whole: Value = toml::from_str(&text).unwrap();
    for (name, base, ty) in [
        ("Q4_k_m", None, "Q6_K"),
        ("q5_K", None, "bf16"),
        ("my-own", Some("IQ2_xxs"), "mxfp4"),
        ("q4_KX", Some("MXFP4_MOE"), "q2_K"),
    ] {
        let mut value = whole.clone();
        let mut format = serde_json::json!({ "name": name, "role": "baseline" });
        format["tensors"] = serde_json::json!([{ "match": "output", "type": ty }]);
        if let Some(base) = base {
            format["base"] = base.into();
        }
        value["format"] = serde_json::json!([format]);
        let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.toml");
        value["workspace"] = ".".into();
        std::fs::write(&path, toml::to_string(&value).unwrap()).unwrap();
        if let Err(e) = load(&path) {
            panic!("{name}: {:?}", miette::Report::new(e));
        }
    }
}

fn load(path: &Path) -> Result<Job, qrun::manifest::ManifestError> {
    Job::load(Utf8Path::from_path(path).unwrap())
}

#[test]
fn the_jobs_say_what_was_asked_for() {
    let big = Job::load(&root().join("jobs/gpt-oss-20b.toml")).unwrap();
    assert_eq!(big.host.min_ram, Some(32_000_000_000));
    let names: Vec<&str> = big.formats.iter().map(|f| f.spec.name.as_str()).collect();
    assert_eq!(names[..2], ["q4_K_M", "q4_K_S"]);
    assert!(big.formats[0].baseline && names.len() == 4);
    assert!(
        big.references
            .iter()
            .all(|r| matches!(r.origin, ReferenceOrigin::Given { required: false }))
    );
    let file = root().join("models/backups/gpt-oss-20b-{format}.{timestamp}.gguf");
    assert_eq!(big.quantize.gguf, file);

    let nano = Job::load(&root().join("jobs/gpt-oss-nano.toml")).unwrap();
    assert!(nano.references.iter().all(|r| matches!(r.origin, ReferenceOrigin::Made(_))));
    for (a, b) in big.formats.iter().zip(&nano.formats) {
        assert_eq!(a.spec, b.spec, "the nano job makes what the big one makes");
    }
    assert_eq!((big.bench.warmups, big.bench.runs), (nano.bench.warmups, nano.bench.runs));
}

#[test]
fn what_the_jobs_write_is_ignored_by_git_and_no_source_is() {
    let text = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('/')).collect();
    for name in ["gpt-oss-20b", "gpt-oss-nano"] {
        let job = Job::load(&root().join(format!("jobs/{name}.toml"))).unwrap();
        let publish = job.publish.unwrap();
        let written = [
            Some(job.quantize.gguf.into()),
            job.convert.gguf,
            Some(job.bench.out),
            Some(publish.to),
            publish.sha256_list.map(Utf8PathBuf::from),
            Some(job.report.dir),
        ];
        for path in written.into_iter().flatten() {
            let top = path.strip_prefix(root()).unwrap().iter().next().unwrap();
            assert!(ignored.contains(&top), "{path} is not ignored");
        }
    }
    for source in ["src", "jobs", "tests", "benches", "schemas", "scripts", "examples"] {
        assert!(!ignored.contains(&source), "{source} is ignored");
    }
}
