//! Whole jobs on the real binary: what runs, what does not, and what a kill leaves.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const MANIFEST: &str = r#"
schema = 1
name = "nano"
workspace = "."

[input]
checkpoint = "checkpoint"

[convert]
gguf = "out/f32.gguf"

[quantize]
gguf = "out/{name}-{format}.{timestamp}.gguf"

[[format]]
name = "q4_K_M"
role = "baseline"

[[format]]
name = "small"
base = "q4_0"
tensors = [{ match = '^output\.weight$', type = "q4_0" }]

[[reference]]
name = "quality"
format = "q8_0"
gguf = "out/q8_0.gguf"

[[reference]]
name = "elsewhere"
gguf = "not/there.gguf"
required = false

[load_check]
timeout = "120s"

[bench]
warmups = 0
runs = 2
prompt_tokens = 4
generate_tokens = 2
out = "out/bench.json"

[evaluate]
corpus = ["corpus.txt"]
context = 16
max_windows = 1
greedy_tokens = 2

[publish]
to = "published"
sha256_list = "reports/list_{timestamp}.txt"

[report]
dir = "reports"
"#;

struct Workspace {
    directory: tempfile::TempDir,
}

impl Workspace {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let checkpoint = directory.path().join("checkpoint");
        fs::create_dir(&checkpoint).unwrap();
        for entry in fs::read_dir(fixtures.join("gpt-oss-nano")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, checkpoint.join(path.file_name().unwrap())).unwrap();
            }
        }
        // Nothing to warn of.
        fs::write(checkpoint.join("chat_template.jinja"), "{{ messages }}").unwrap();
        let text = fs::read_to_string(fixtures.join("corpus/kjv.txt")).unwrap();
        fs::write(directory.path().join("corpus.txt"), &text[..2000]).unwrap();
        let workspace = Self { directory };
        workspace.manifest(|text| text);
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the manifest, changed by `edit`.
    fn manifest(&self, edit: impl FnOnce(String) -> String) {
        fs::write(self.path("job.toml"), edit(MANIFEST.to_owned())).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qrun"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("NO_COLOR", "1")
            .env_remove("QRUN_LOG");
        command
    }

    fn qrun(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs what must succeed, and returns standard output.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.qrun(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", all(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must fail with this exit code, and returns all that it said.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.qrun(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", all(&output));
        all(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// The steps that the plan would run, with the first reason of each.
    fn planned(&self) -> Vec<(String, String)> {
        let plan = self.json(&["plan", "job.toml", "--json"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let steps = plan["steps"].as_array().unwrap().iter();
        steps
            .filter(|step| step["verdict"] != "fresh")
            .map(|step| (text(&step["step"]), text(&step["why"][0])))
            .collect()
    }

    /// The steps that ran in the last run.
    fn ran(&self) -> Vec<String> {
        let status = self.json(&["status", "--json"]);
        let steps = status["steps"].as_array().unwrap().iter();
        steps
            .filter(|step| step["status"] == "done")
            .map(|step| step["step"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn all(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_job_runs_whole_and_then_only_what_changed() {
    let workspace = Workspace::new();
    let plan = workspace.ok(&["plan", "job.toml"]);
    assert!(plan.contains("16 of 16 steps to run") && plan.contains("to hash in"), "{plan}");
    assert!(!workspace.path(".qrun").exists(), "plan changes nothing");

    let said = workspace.ok(&["job.toml"]);
    assert!(said.contains("nano: 16 steps ran, 0 fresh"), "{said}");
    assert!(said.contains("report: reports/README-nano.md"), "{said}");
    assert!(said.contains("recommendation: "), "{said}");
    assert!(said.contains("reference elsewhere is missing and left out"), "{said}");

    let out = names(&workspace.path("out"));
    assert!(out.iter().all(|name| !name.contains("partial")), "{out:?}");
    assert_eq!(names(&workspace.path("published")).len(), 2);
    let report = fs::read_to_string(workspace.path("reports/README-nano.md")).unwrap();
    assert!(report.contains("qrun job.toml") && report.contains("elsewhere"), "{report}");
    assert!(report.contains("## Made from") && report.contains("by qrun "), "{report}");
    let bench: Value =
        serde_json::from_slice(&fs::read(workspace.path("out/bench.json")).unwrap()).unwrap();
    assert_eq!(bench["qrun_version"], env!("CARGO_PKG_VERSION"));
    let inputs = bench["made_from"].as_array().unwrap();
    assert!(inputs.iter().all(|file| file["sha256"].as_str().is_some_and(|s| s.len() == 64)));
    let files = ["job.toml", "checkpoint/model.safetensors", "corpus.txt"];
    assert!(files.iter().all(|path| inputs.iter().any(|file| file["path"] == *path)), "{bench}");
    let reports = names(&workspace.path("reports"));
    for name in ["nano-q4_K_M.log", "nano-small.log", "bench.json"] {
        assert!(reports.contains(&name.to_owned()), "{reports:?}");
    }
    assert!(fs::read_to_string(workspace.path("job.lock")).unwrap().contains("model.safetensors"));

    // The list of digests is one that sha256sum takes.
    let list = reports.iter().find(|name| name.starts_with("list_")).unwrap();
    let check = Command::new("sha256sum")
        .args(["--check", "--quiet"])
        .arg(workspace.path("reports").join(list))
        .current_dir(workspace.path(""))
        .output();
    if let Ok(check) = check {
        assert!(check.status.success(), "{}", all(&check));
    }

    // Nothing is left to do.
    assert!(workspace.planned().is_empty());
    let said = workspace.ok(&["job.toml"]);
    assert!(said.contains("nano: nothing to do, 16 steps fresh"), "{said}");

    // What only has to be hashed again is most likely as it was: no room for it is asked for.
    let config = fs::File::options().append(true).open(workspace.path("checkpoint/config.json"));
    config.unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let disks = &workspace.json(&["plan", "job.toml", "--json"])["disks"];
    let all_of = |disk: &Value| disk["needed_bytes"] == 0 && disk["exact"] == false;
    assert!(disks.as_array().unwrap().iter().all(all_of), "{disks}");
    assert_ne!(disks[0], Value::Null);
    workspace.ok(&["job.toml"]);
    assert_eq!(workspace.ran(), ["verify"]);

    // A setting.
    workspace.manifest(|text| text.replace("runs = 2", "runs = 3"));
    let benches = ["bench:ref:quality", "bench:q4_K_M", "bench:small"];
    let planned = workspace.planned();
    for (bench, (step, why)) in benches.iter().zip(&planned) {
        assert_eq!((step.as_str(), why.as_str()), (*bench, "bench.runs: 2 -> 3"));
    }
    assert_eq!(planned[3].0, "report");
    workspace.ok(&["run", "job.toml"]);
    assert_eq!(workspace.ran(), [&benches[..], &["report"]].concat());

    // A format.
    let added = "[[format]]\nname = \"q5_0\"\n\n[[reference]]\nname = \"quality\"";
    let edit = |text: String| {
        text.replace("runs = 2", "runs = 3").replace("[[reference]]\nname = \"quality\"", added)
    };
    workspace.manifest(edit);
    let steps = [
        "quantize:q5_0",
        "load_check:q5_0",
        "bench:q5_0",
        "evaluate:q5_0",
        "compare:q5_0:quality",
        "report",
        "publish",
    ];
    let planned: Vec<String> = workspace.planned().into_iter().map(|(step, _)| step).collect();
    assert_eq!(planned, steps);
    workspace.ok(&["run", "job.toml"]);
    assert_eq!(workspace.ran(), steps);

    // An override.
    workspace.manifest(|text| edit(text).replace("type = \"q4_0\"", "type = \"q5_0\""));
    let planned = workspace.planned();
    assert_eq!(
        planned[0],
        ("quantize:small".to_owned(), "format.tensors[0].type: q4_0 -> q5_0".to_owned())
    );
    let why = workspace.ok(&["why", "quantize:small"]);
    assert!(
        why.starts_with("quantize:small: stale, format.tensors[0].type: q4_0 -> q5_0\n"),
        "{why}"
    );
    let marked: Vec<&str> = why.lines().filter(|line| line.trim_start().starts_with('*')).collect();
    assert_eq!(marked.len(), 1, "{why}");
    let words: Vec<&str> = marked[0].split_whitespace().collect();
    assert_eq!(words, ["*", "format.tensors[0].type", "q5_0", "q4_0"]);
    let why = workspace.json(&["why", "quantize", "job.toml", "--json"]);
    let verdicts: Vec<_> = why.as_array().unwrap().iter().map(|w| w["verdict"].clone()).collect();
    assert_eq!(verdicts.iter().filter(|v| *v == "stale").count(), 1, "{why}");
    assert!(why[0]["key"].is_string() && why[0]["ingredients"][0]["now"].is_string(), "{why}");
    assert!(workspace.ok(&["why", "verify"]).contains("has no key"));
    workspace.fails(2, &["why", "quantise"]);

    let is_about_it = |step: &str| step.contains("small") || ["report", "publish"].contains(&step);
    assert!(planned.iter().all(|(step, _)| is_about_it(step)), "{planned:?}");

    look_back(&workspace);
}

/// The commands that look at what has been done.
fn look_back(workspace: &Workspace) {
    let status = workspace.ok(&["status", "job.toml"]);
    assert!(status.contains("bench:q5_0") && status.contains("done"), "{status}");
    let log = workspace.ok(&["log", "load_check:q4_K_M"]);
    assert!(log.contains("forward pass"), "{log}");
    let said = workspace.fails(2, &["log", "load_chek:q4_K_M"]);
    assert!(said.contains("did you mean `load_check:q4_K_M`?"), "{said}");

    assert!(workspace.ok(&["report"]).starts_with("# nano: "));
    assert!(workspace.json(&["report", "job.toml", "--json"])["recommendation"].is_object());

    let dot = workspace.ok(&["plan", "job.toml", "--dot"]);
    assert!(
        dot.starts_with("digraph") && dot.contains("\"convert\" -> \"quantize:small\""),
        "{dot}"
    );
    let mermaid = workspace.ok(&["plan", "job.toml", "--mermaid"]);
    assert!(mermaid.starts_with("flowchart") && mermaid.contains(":::fresh"), "{mermaid}");

    let holdings = workspace.json(&["cache", "du", "--json"]);
    assert!(holdings["actions"].as_u64().unwrap() > 16, "{holdings}");
    workspace.ok(&["cache", "verify"]);
    workspace.ok(&["cache", "gc", "--keep-runs", "1"]);
    assert_eq!(workspace.json(&["cache", "du", "--json"])["runs"], 1);
    // What is removed was of no use: the same is left to do.
    assert!(workspace.planned().iter().all(|(step, _)| !step.contains("q5_0")));
    fs::write(workspace.path("out/q8_0.gguf"), "spoiled").unwrap();
    let said = workspace.fails(3, &["cache", "verify"]);
    assert!(said.contains("changed") && said.contains("q8_0.gguf"), "{said}");
}

#[test]
fn what_is_wrong_with_the_inputs_is_said_before_anything_runs() {
    let workspace = Workspace::new();
    workspace.manifest(|text| text.replace("required = false", "required = true"));
    let said = workspace.fails(3, &["job.toml"]);
    assert!(said.contains("reference elsewhere") && said.contains("not/there.gguf"), "{said}");

    workspace.manifest(|text| text.replace("checkpoint = \"checkpoint\"", "checkpoint = \"none\""));
    let said = workspace.fails(3, &["job.toml"]);
    assert!(said.contains("input.checkpoint") && said.contains("none is not there"), "{said}");

    workspace.manifest(|text| format!("{text}\n[host]\nmin_ram = \"900 TB\"\n"));
    let said = workspace.fails(4, &["job.toml"]);
    assert!(said.contains("900.0 TB of memory, this machine has"), "{said}");
    let plan = workspace.fails(4, &["plan", "job.toml"]);
    assert!(plan.contains("cannot run here: host.min_ram"), "{plan}");

    workspace.manifest(|text| text.replace("output\\.weight", "outptu"));
    let said = workspace.fails(2, &["job.toml"]);
    assert!(said.contains("quantize:small") && said.contains("matches none"), "{said}");

    workspace.manifest(|text| {
        let text = text.replace("base = \"q4_0\"", "base = \"q4_K_M\"");
        text.replace("[quantize]", "[quantize]\nfallback = \"refuse\"")
    });
    let said = workspace.fails(2, &["job.toml"]);
    assert!(said.contains("quantize:") && said.contains("tensors fall back"), "{said}");

    // An importance matrix that a format needs, is not there, and is none.
    let low = |text: String| text.replace("base = \"q4_0\"", "base = \"q2_K_S\"");
    workspace.manifest(|text| {
        low(text).replace("[quantize]", "[quantize]\nnative_mxfp4 = \"requantize\"")
    });
    let said = workspace.fails(2, &["job.toml"]);
    assert!(
        said.contains("quantize:small") && said.contains("needs an importance matrix"),
        "{said}"
    );
    let named = |text: String| text.replace("[quantize]", "[quantize]\nimatrix = \"of/nano.gguf\"");
    workspace.manifest(named);
    let said = workspace.fails(3, &["job.toml"]);
    assert!(said.contains("of/nano.gguf is not there; expected an importance matrix"), "{said}");
    fs::create_dir(workspace.path("of")).unwrap();
    fs::write(workspace.path("of/nano.gguf"), "GGUF and no more").unwrap();
    let said = workspace.fails(3, &["job.toml"]);
    assert!(said.contains("quantize:") && said.contains("of/nano.gguf"), "{said}");

    workspace.manifest(|text| text);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:dd67\nsize 13800000000\n";
    for name in ["corpus.txt", "checkpoint/tokenizer.json", "checkpoint/model.safetensors"] {
        let kept = fs::read(workspace.path(name)).unwrap();
        fs::write(workspace.path(name), pointer).unwrap();
        let said = workspace.fails(3, &["job.toml"]);
        assert!(said.contains(&format!("{name} is a Git LFS pointer")), "{said}");
        assert!(said.contains("13.8 GB") && said.contains("git lfs pull"), "{said}");
        fs::write(workspace.path(name), kept).unwrap();
    }

    let wrong = "0".repeat(64);
    workspace.manifest(|text| {
        text.replace(
            "[convert]",
            &format!("sha256 = {{ \"model.safetensors\" = \"{wrong}\" }}\n[convert]"),
        )
    });
    let said = workspace.fails(3, &["run", "--keep-going", "job.toml"]);
    assert!(said.contains("model.safetensors") && said.contains(&wrong), "{said}");
    assert!(!workspace.path("out").exists());
}

/// What a run says on standard output, line by line, each as the schema has it.
fn events(output: &Output) -> Vec<Value> {
    let path = format!("{}/schemas/run_event.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let events = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&event), "{line}");
        event
    });
    events.collect()
}

#[test]
fn a_run_is_told_as_json_lines() {
    let workspace = Workspace::new();
    let only = ["run", "job.toml", "--json", "--only", "quantize:small"];
    let output = workspace.qrun(&only);
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
    assert!(output.stderr.is_empty(), "{}", all(&output));
    let said = events(&output);
    let (first, last) = (&said[0], &said[said.len() - 1]);
    assert_eq!((&first["event"], &first["job"]), (&"run_started".into(), &"nano".into()));
    let planned: Vec<_> = first["steps"].as_array().unwrap().iter().map(|s| &s["step"]).collect();
    assert_eq!(planned, ["verify", "convert", "quantize:small"]);
    // Nothing ran before, so times are estimated, and what is left for all is known from the start.
    let times = |event: &Value, key: &str| -> Vec<bool> {
        event["steps"].as_array().unwrap().iter().map(|s| s[key].as_u64().is_some()).collect()
    };
    assert_eq!(times(first, "estimated_duration_ms"), [true; 3], "{first}");
    assert_eq!(times(first, "last_duration_ms"), [false; 3], "{first}");
    assert!(said.iter().any(|e| e["run_left_ms"].is_u64()), "{said:?}");
    let told = |kind: &str| -> Vec<&Value> {
        said.iter().filter(|event| event["event"] == kind).map(|event| &event["step"]).collect()
    };
    assert_eq!(told("step_started"), planned);
    assert_eq!(told("step_ended"), planned);
    assert!(told("step_progress").contains(&planned[2]));
    assert!(told("step_log").is_empty(), "there was nothing to warn of");
    assert_eq!(
        (&last["event"], &last["outcome"], &last["exit_code"], &last["done"]),
        (&"run_ended".into(), &"done".into(), &0.into(), &3.into())
    );

    // The same with what it found, and nothing left to do; then a failure with its exit code.
    let said = events(&workspace.qrun(&[&only[..], &["-v", "--force", "convert"]].concat()));
    assert_eq!(times(&said[0], "estimated_duration_ms"), [false; 3], "{}", said[0]);
    assert_eq!(times(&said[0], "last_duration_ms"), [true; 3], "{}", said[0]);
    assert!(said.iter().any(|e| e["event"] == "step_log" && e["level"] == "info"), "{said:?}");
    fs::write(workspace.path("checkpoint/generation_config.json"), "{}").unwrap();
    let output = workspace.qrun(&only);
    let said = events(&output);
    let last = &said[said.len() - 1];
    assert_eq!((&last["outcome"], &last["exit_code"]), (&"failed".into(), &3.into()));
    assert_eq!(output.status.code(), Some(3));
    assert!(said.iter().any(|event| event["class"] == "input" && event["message"].is_string()));
}

#[test]
fn it_says_more_with_v_and_every_tensor_with_another() {
    let workspace = Workspace::new();
    let run = |how: &str| {
        let arguments =
            ["run", "job.toml", "--only", "quantize:small", "--force", "quantize:small"];
        let output = workspace.qrun(&[&arguments[..], &[how]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", all(&output));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run("-v");
    for line in [
        "verify: stale: unverified",
        "quantize:small: stale: forced",
        "convert: started\n",
        "[1/3] verify: done in ",
        "[3/3] quantize:small: done in ",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains("quantize:small: wrote ") && !said.contains("blk.0."), "{said}");
    let said = run("-vv");
    assert!(said.contains("convert: fresh\n") && said.contains("blk.0.attn_q.weight"), "{said}");
    assert_eq!(run("-q"), "");
}

#[test]
fn what_people_read_fits_the_terminal_and_what_programs_read_stays_whole() {
    let workspace = Workspace::new();
    // All of it, so that no time is an estimate, which may be another the next time.
    workspace.ok(&["run", "job.toml"]);
    fs::write(workspace.path("corpus.txt"), "another text ".repeat(1000)).unwrap();
    for arguments in [&["plan", "job.toml"][..], &["status"]] {
        let whole = workspace.ok(arguments);
        for columns in ["80", "50"] {
            let output = workspace.command(arguments).env("COLUMNS", columns).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            // A path is not broken.
            let word = whole.split_whitespace().map(|word| word.chars().count()).max().unwrap();
            let columns: usize = columns.parse().unwrap();
            assert!(widest <= columns.max(word + 8), "{arguments:?}: {text}");
            let words = |text: &str| text.split_whitespace().map(str::len).sum::<usize>();
            assert_eq!(words(&text), words(&whole), "{text}");
        }
    }
    let plan = workspace.ok(&["plan", "job.toml"]);
    assert!(plan.lines().any(|line| line.chars().count() > 80), "one step a line: {plan}");
}

/// All files that an index names are inputs, whatever they are called; and what has no UTF-8 name is
/// none.
#[test]
fn every_file_that_is_read_is_hashed_and_pinned() {
    use std::os::unix::ffi::OsStrExt;
    let workspace = Workspace::new();
    workspace.manifest(|text| text);
    let stray = std::ffi::OsStr::from_bytes(b"stray-\xff.json");
    fs::write(workspace.path("checkpoint").join(stray), "").unwrap();
    let weights = fs::read(workspace.path("checkpoint/model.safetensors")).unwrap();
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&weights[8..8 + header]).unwrap();
    let names = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    let map: serde_json::Map<_, _> = names.map(|n| (n.clone(), "weights.1".into())).collect();
    let index = serde_json::json!({ "weight_map": map });
    let at = workspace.path("checkpoint/model.safetensors.index.json");
    fs::write(at, index.to_string()).unwrap();
    let said = workspace.fails(3, &["job.toml"]);
    assert!(said.contains("input.checkpoint") && said.contains("has no weights.1"), "{said}");

    let from = workspace.path("checkpoint/model.safetensors");
    fs::rename(from, workspace.path("checkpoint/weights.1")).unwrap();
    fs::remove_file(workspace.path("checkpoint/chat_template.jinja")).unwrap();
    let plan = workspace.ok(&["plan", "job.toml"]);
    let warning =
        "warning: convert, quantize:ref:quality, quantize:q4_K_M and 1 more: what it is made";
    assert!(plan.contains(warning), "{plan}");
    let json = workspace.json(&["plan", "job.toml", "--json"]);
    let steps = json["steps"].as_array().unwrap();
    let convert = steps.iter().find(|step| step["step"] == "convert").unwrap();
    let told = convert["warnings"][0].as_str().unwrap();
    assert!(told.contains("tokenizer.chat_template"), "{told}");

    workspace.ok(&["run", "job.toml", "--only", "convert"]);
    let lock = fs::read_to_string(workspace.path("job.lock")).unwrap();
    assert!(lock.contains("weights.1"), "{lock}");
    let mut weights = fs::read(workspace.path("checkpoint/weights.1")).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(workspace.path("checkpoint/weights.1"), weights).unwrap();
    let said = workspace.fails(3, &["job.toml"]);
    assert!(said.contains("weights.1"), "{said}");
}

#[test]
fn steps_are_named_or_refused() {
    let workspace = Workspace::new();
    let said = workspace.fails(2, &["run", "job.toml", "--only", "quantise:small"]);
    assert!(said.contains("did you mean `quantize:small`?"), "{said}");
    workspace.ok(&["run", "job.toml", "--only", "quantize:small"]);
    assert_eq!(workspace.ran(), ["verify", "convert", "quantize:small"]);
    workspace.ok(&["run", "job.toml", "--only", "quantize:small", "--force", "convert"]);
    assert_eq!(workspace.ran(), ["convert"]);

    // A format that fails its check, and one that does not.
    workspace.manifest(|text| text.replace("\"120s\"", "\"1ms\""));
    for arguments in [&["run", "job.toml"][..], &["run", "job.toml", "--keep-going"]] {
        let said = workspace.fails(1, arguments);
        assert!(said.contains("did not finish within 1ms"), "{said}");
        assert!(said.contains("load_check.timeout") && said.contains("log: .qrun/logs/"), "{said}");
        assert!(said.contains("report: reports/README-nano.md"), "{said}");
        let path = workspace.path("reports/README-nano.md");
        let report = fs::read_to_string(&path).unwrap();
        assert!(report.contains("did not finish within 1ms"), "{report}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_damaged_state_is_kept_aside_and_may_be_deleted() {
    let workspace = Workspace::new();
    workspace.ok(&["run", "job.toml", "--only", "convert"]);
    let before = fs::read(workspace.path("out/f32.gguf")).unwrap();
    for name in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(workspace.path(".qrun").join(name));
    }
    fs::write(workspace.path(".qrun/state.db"), "scribble".repeat(100)).unwrap();
    let said = workspace.fails(4, &["status", "job.toml"]);
    assert!(said.contains("is damaged") && said.contains("keeps it aside"), "{said}");
    assert!(workspace.ok(&["plan", "job.toml"]).contains("never run"));
    let said = all(&workspace.qrun(&["run", "job.toml", "--only", "convert"]));
    assert!(said.contains("is damaged") && said.contains("it is kept as"), "{said}");
    assert_eq!(fs::read(workspace.path("out/f32.gguf")).unwrap(), before);
    assert_eq!(workspace.ran(), ["verify", "convert"]);
    let kept =
        names(&workspace.path(".qrun")).into_iter().find(|n| n.starts_with("state.db.kept-"));
    assert!(kept.is_some());
    // The file of which nothing was known any more had the same bytes, and is there once.
    assert_eq!(names(&workspace.path("out")), ["f32.gguf"]);
    fs::remove_dir_all(workspace.path(".qrun")).unwrap();
    workspace.ok(&["run", "job.toml", "--only", "convert"]);
    assert_eq!(fs::read(workspace.path("out/f32.gguf")).unwrap(), before);
    assert_eq!(names(&workspace.path("out")), ["f32.gguf"]);
}

/// A run that is at its bench, which takes very long, and that bench's process.
fn at_its_bench(workspace: &Workspace) -> (Child, u32) {
    workspace.manifest(|text| {
        text.replace("warmups = 0", "warmups = 1000000")
            .replace("timeout = \"120s\"", "timeout = \"1h\"")
    });
    let mut command = workspace.command(&["run", "job.toml", "--only", "bench:small"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut runner = command.spawn().unwrap();
    let worker = wait_for_bench(workspace, runner.id());
    if worker.is_none() {
        runner.kill().unwrap();
        runner.wait().unwrap();
    }
    (runner, worker.expect("the bench never started"))
}

fn wait_for_bench(workspace: &Workspace, runner: u32) -> Option<u32> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(300) {
        std::thread::sleep(Duration::from_millis(50));
        let output = workspace.qrun(&["status", "--json"]);
        let Ok(status) = serde_json::from_slice::<Value>(&output.stdout) else { continue };
        let is_bench = |s: &Value| s["step"] == "bench:small" && s["status"] == "running";
        if status["steps"].as_array().is_some_and(|steps| steps.iter().any(is_bench))
            && let Some(child) = child_of(runner)
        {
            return Some(child);
        }
    }
    None
}

fn child_of(parent: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Waits until a process has ended, or is only waited for by its parent.
fn wait_for_end(process: u32) {
    let started = Instant::now();
    loop {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "process {process} lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(status.success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_run_is_refused_and_ctrl_c_stops_the_first_in_order() {
    let workspace = Workspace::new();
    let (runner, worker) = at_its_bench(&workspace);
    let said = workspace.fails(1, &["run", "job.toml"]);
    assert!(said.contains(&format!("process {}", runner.id())), "{said}");
    workspace.ok(&["plan", "job.toml"]);

    signal(runner.id(), "-INT");
    let output = runner.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", all(&output));
    assert!(all(&output).contains("the same command goes on from here"), "{}", all(&output));
    wait_for_end(worker);
    let status = workspace.json(&["status", "--json"]);
    assert_eq!(status["outcome"], "interrupted");

    workspace.manifest(|text| text);
    workspace.ok(&["run", "job.toml", "--only", "bench:small"]);
    assert_eq!(workspace.ran(), ["bench:small"]);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_z_stops_the_step_too_and_it_goes_on_with_its_runner() {
    let workspace = Workspace::new();
    let (runner, worker) = at_its_bench(&workspace);
    let wait_until = |stopped: bool| {
        let started = Instant::now();
        let stat = || fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
        while stat().contains(") T ") != stopped {
            assert!(started.elapsed() < Duration::from_secs(60), "stopped: {}", !stopped);
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for _ in 0..2 {
        signal(runner.id(), "-TSTP");
        wait_until(true);
        signal(runner.id(), "-CONT");
        wait_until(false);
    }
    signal(runner.id(), "-INT");
    assert_eq!(runner.wait_with_output().unwrap().status.code(), Some(130));
    wait_for_end(worker);
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_runner_takes_its_worker_along_and_loses_nothing() {
    let workspace = Workspace::new();
    let (mut runner, worker) = at_its_bench(&workspace);
    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_for_end(worker);
    let status = workspace.ok(&["status"]);
    assert!(status.contains("killed"), "{status}");
    workspace.manifest(|text| text);
    workspace.ok(&["run", "job.toml", "--only", "bench:small"]);
    assert_eq!(workspace.ran(), ["bench:small"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_worker_is_its_steps_failure() {
    let workspace = Workspace::new();
    let (runner, worker) = at_its_bench(&workspace);
    signal(worker, "-KILL");
    let output = runner.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", all(&output));
    assert!(all(&output).contains("killed by SIGKILL (signal 9)"), "{}", all(&output));
}

#[test]
fn what_failed_is_not_published_and_what_is_left_out_is_said() {
    let workspace = Workspace::new();
    // A window of more tokens than the corpus has, though not of more than it has bytes, which would
    // be said first: everything but the evaluation works.
    let impossible = |text: String| text.replace("context = 16", "context = 1900");
    workspace.manifest(impossible);
    let said = workspace.fails(3, &["run", "job.toml", "--keep-going"]);
    assert!(
        said.contains("not published: every format is left out: q4_K_M (evaluate:q4_K_M failed)"),
        "{said}"
    );
    assert!(!workspace.path("published").exists());

    workspace.manifest(|text| {
        impossible(text).replace("to = \"published\"", "to = \"published\"\nfailed = \"publish\"")
    });
    let said = workspace.fails(3, &["run", "job.toml", "--keep-going"]);
    assert!(said.contains("q4_K_M is published although evaluate:q4_K_M failed"), "{said}");
    assert!(said.contains("published in published: 2 files"), "{said}");
    assert_eq!(names(&workspace.path("published")).len(), 2);

    // Only what is recommended: with the verdict "keep", or another.
    workspace.manifest(|text| {
        text.replace("to = \"published\"", "to = \"elsewhere\"\nonly = [\"recommended\"]")
    });
    let said = workspace.ok(&["run", "job.toml"]);
    assert!(said.contains("published in elsewhere: 1 file "), "{said}");
    assert!(said.contains("; left out: ") && said.contains("(it is not recommended)"), "{said}");
    let recommended = workspace.json(&["report", "job.toml", "--json"]);
    let recommended = recommended["recommendation"]["format"].as_str().unwrap().to_owned();
    let published = names(&workspace.path("elsewhere"));
    assert!(published.len() == 1 && published[0].contains(&recommended), "{published:?}");

    // Found there, nothing is written, and nothing is said to be.
    let said = all(&workspace.qrun(&["run", "job.toml", "--force", "publish"]));
    let done = said.lines().find(|line| line.contains("publish: done")).unwrap();
    assert!(done.contains("1 file there already"), "{done}");
    let list_only = done.split(", ").find(|part| part.ends_with(" written")).unwrap();
    assert!(list_only.contains(" B written"), "{done}");
}
