//! What runs again after which change, and what does not.

use super::*;
use crate::steps::ImatrixFile;

#[test]
fn everything_runs_once_and_then_nothing_does() {
    let workspace = Workspace::new();
    let ran = run_job(&workspace, workspace.job());
    assert_eq!(sorted(ran), sorted(ALL.map(String::from).to_vec()));
    assert!(run_job(&workspace, workspace.job()).is_empty());
    assert!(planned(&workspace, workspace.job()).is_empty());
    let state = crate::state::State::open(&workspace.path).unwrap();
    let last = state.last_run(Some(workspace.owner())).unwrap().unwrap();
    assert_eq!(last.outcome, Some(RunOutcome::Done));
    assert_eq!(state.outcomes(last.id).unwrap().len(), ALL.len());
    assert!(state.last_log(None, "convert").unwrap().unwrap().is_file());
}

#[test]
fn the_first_run_pins_the_checkpoint_and_a_change_of_it_is_refused() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let mut job = workspace.job();
    job.input.pinned = crate::manifest::lock::read(&job.lock).unwrap();
    assert_eq!(job.input.pinned.keys().collect::<Vec<_>>(), ["config.json", "model.safetensors"]);
    assert!(run_job(&workspace, job.clone()).is_empty());
    std::fs::write(workspace.path.join("checkpoint/model.safetensors"), "swapped").unwrap();
    let (ran, summary) = run_with(Mock::default(), &workspace, job, true, |_| {});
    assert_eq!(ran, ["verify"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Input));
}

#[test]
fn a_checkpoint_that_cannot_be_converted_is_not_pinned() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["convert"]), ..Mock::default() };
    run_with(mock, &workspace, workspace.job(), true, |_| {});
    assert!(!workspace.job().lock.exists());
    run_job(&workspace, workspace.job());
    assert!(workspace.job().lock.exists());
}

#[test]
fn a_changed_setting_redoes_what_reads_it_and_is_named() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let mut job = workspace.job();
    job.bench.runs = 20;
    let plan = planned(&workspace, job.clone());
    let benches = ["bench:ref:stability", "bench:ref:quality", "bench:q4_K_M", "bench:q4_K_S"];
    assert_eq!(
        plan,
        benches
            .map(|id| (id.to_owned(), "bench.runs: 10 -> 20".to_owned()))
            .into_iter()
            .chain([
                (
                    "report".to_owned(),
                    format!(
                        "waits for {}",
                        [benches[2], benches[3], benches[0], benches[1]].join(", ")
                    )
                ),
                ("publish".to_owned(), format!("waits for {}, {}", benches[2], benches[3]))
            ])
            .collect::<Vec<_>>()
    );
    let mut expected = benches.to_vec();
    expected.push("report");
    assert_eq!(run_job(&workspace, job), expected);
    // And back: the benches of before still hold, the report has to be written again.
    assert_eq!(run_job(&workspace, workspace.job()), ["report"]);
}

#[test]
fn a_changed_override_redoes_its_format_only() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.formats[1].spec.tensors = vec![rule("^output", GgmlType::Q4_0)];
    run_job(&workspace, job.clone());
    job.formats[1].spec.tensors = vec![rule("^output", GgmlType::Q8_0)];
    let plan = planned(&workspace, job.clone());
    assert_eq!(
        plan[0],
        ("quantize:q4_K_S".to_owned(), "format.tensors[0].type: q4_0 -> q8_0".to_owned())
    );
    assert_eq!(plan[1].1, "waits for quantize:q4_K_S");
    let ran = run_job(&workspace, job);
    assert!(ran.iter().all(|s| s.contains("q4_K_S") || s == "report" || s == "publish"), "{ran:?}");
}

#[test]
fn an_edited_importance_matrix_redoes_what_it_weighs_and_is_named() {
    let workspace = Workspace::new();
    let path = workspace.path.join("imatrix.gguf");
    std::fs::write(&path, "importance").unwrap();
    let mut job = workspace.job();
    job.formats[1].spec.imatrix = Some(ImatrixFile { path: (&path).into(), name: "one".into() });
    run_job(&workspace, job.clone());
    assert!(run_job(&workspace, job.clone()).is_empty());

    std::fs::write(&path, "other importance").unwrap();
    let plan = planned(&workspace, job.clone());
    assert!(plan[0].1.starts_with("unverified, 16 B to hash in 1 file"), "{plan:?}");
    assert_eq!(plan[1], ("quantize:q4_K_S".to_owned(), "waits for verify".to_owned()));
    let stamp = crate::files::Stamp::of(&path).unwrap().unwrap();
    let state = crate::state::State::open(&workspace.path).unwrap();
    // As if somebody had verified it some time after the edit.
    state.record_digest(&path, &stamp, &digest(&path).sha256).unwrap();
    let ran = run_job(&workspace, job.clone());
    assert!(ran.contains(&"quantize:q4_K_S".to_owned()), "{ran:?}");
    let weighed = |id: &String| {
        id.contains("q4_K_S") || ["verify", "report", "publish"].contains(&id.as_str())
    };
    assert!(ran.iter().all(weighed), "{ran:?}");

    // The quantized file names the matrix.
    let renamed = workspace.path.join("renamed.gguf");
    std::fs::copy(&path, &renamed).unwrap();
    job.formats[1].spec.imatrix = Some(ImatrixFile { path: renamed.into(), name: "two".into() });
    let plan = planned(&workspace, job);
    let step = plan.iter().find(|(id, _)| id == "quantize:q4_K_S").unwrap();
    assert_eq!(step.1, "format.imatrix.name: one -> two");
}

#[test]
fn provenance_enters_the_key_with_the_checkpoint_that_it_names() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    run_job(&workspace, job.clone());
    job.quantize.provenance = true;
    let plan = planned(&workspace, job.clone());
    let (_, why) = plan.iter().find(|(id, _)| id == "quantize:q4_K_S").unwrap();
    let named = "quantize.provenance.made_from.checkpoint.directory/config.json: none -> ";
    assert!(why.contains(named), "{why}");
    assert!(run_job(&workspace, job.clone()).contains(&"quantize:q4_K_S".to_owned()));
    assert!(run_job(&workspace, job).is_empty());
}

#[test]
fn a_renamed_checkpoint_is_another_model() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    std::fs::rename(workspace.path.join("checkpoint"), workspace.path.join("other")).unwrap();
    let mut job = workspace.job();
    job.input.checkpoint = workspace.path.join("other");
    let renamed = "input.checkpoint.name: checkpoint -> other";
    assert_eq!(planned(&workspace, job.clone())[1], ("convert".to_owned(), renamed.to_owned()));
    // The mock's convert writes the same bytes; the report names the directory.
    assert_eq!(run_job(&workspace, job), ["verify", "convert", "report"]);
}

#[test]
fn a_new_format_runs_its_own_steps_and_the_report() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let mut job = workspace.job();
    job.formats.push(format("q5_K_M", false));
    assert_eq!(
        sorted(run_job(&workspace, job)),
        sorted(
            [
                "quantize:q5_K_M",
                "load_check:q5_K_M",
                "bench:q5_K_M",
                "evaluate:q5_K_M",
                "compare:q5_K_M:stability",
                "compare:q5_K_M:quality",
                "report",
                "publish"
            ]
            .map(String::from)
            .to_vec()
        )
    );
}

#[test]
fn what_comes_out_as_before_stops_the_wave() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    // Same length: the mock's convert writes the same bytes.
    std::fs::write(workspace.path.join("checkpoint/model.safetensors"), "WEIGHTS").unwrap();
    let plan = planned(&workspace, workspace.job());
    assert!(plan[0].1.starts_with("unverified, 7 B to hash"), "{plan:?}");
    assert_eq!(plan[1], ("convert".to_owned(), "waits for verify".to_owned()));
    // The report names the file's digest.
    assert_eq!(run_job(&workspace, workspace.job()), ["verify", "convert", "report"]);
    assert!(run_job(&workspace, workspace.job()).is_empty());
}

#[test]
fn the_report_names_what_went_in_and_is_written_anew_when_that_changes_but_not_with_time() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let report = || -> Value {
        let text = std::fs::read(workspace.path.join("reports/report")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let first = report();
    let named: Vec<_> = first["made_from"].as_array().unwrap().iter().map(|f| &f["name"]).collect();
    let names = [
        "manifest",
        "input.checkpoint/config.json",
        "input.checkpoint/model.safetensors",
        "evaluate.corpus[0]",
        "reference.stability",
    ];
    assert_eq!(named, names);
    let corpus = digest(&workspace.path.join("corpus.txt")).sha256;
    assert_eq!(first["made_from"][3]["file"]["sha256"], corpus);
    assert!(first["candidates"][0]["quantize"]["took"][0].as_i64().unwrap() > 0);
    // Another time of writing is no reason to write it.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(run_job(&workspace, workspace.job()).is_empty());
    // A comment in the manifest is one.
    let mut job = workspace.job();
    job.manifest_sha256 = "n".repeat(64);
    let plan = planned(&workspace, job.clone());
    let why = format!("report.made_from[manifest].file: {} -> {}", "m".repeat(64), "n".repeat(64));
    assert_eq!(plan, [("report".to_owned(), why)]);
    assert_eq!(run_job(&workspace, job), ["report"]);
    assert_ne!(report()["made_from"], first["made_from"]);
}

#[test]
fn a_corpus_edited_behind_its_reader_does_not_keep_the_report_from_being_written() {
    let workspace = Workspace::new();
    let mock = Mock { edit: named(&["evaluate:q4_K_M"]), ..Mock::default() };
    let (ran, _) = run_with(mock, &workspace, workspace.job(), true, |_| {});
    assert!(ran.contains(&"report".to_owned()), "{ran:?}");
    let text = std::fs::read(workspace.path.join("reports/report")).unwrap();
    let report: Value = serde_json::from_slice(&text).unwrap();
    let corpus = &report["made_from"][3];
    assert!(
        corpus["name"] == "evaluate.corpus[0]" && corpus["file"]["sha256"].is_null(),
        "{corpus}"
    );
}

#[test]
fn a_missing_output_is_made_again_under_a_new_name() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let state = crate::state::State::open(&workspace.path).unwrap();
    let old = state.last_action(workspace.owner(), "quantize:q4_K_M").unwrap().unwrap().outputs[0]
        .path
        .clone();
    std::fs::remove_file(&old).unwrap();
    assert_eq!(
        planned(&workspace, workspace.job())[0],
        ("quantize:q4_K_M".to_owned(), format!("{old} is gone"))
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let ran = run_job(&workspace, workspace.job());
    // Its bytes are as before, but the report names files, and the mock publishes in place.
    assert_eq!(ran, ["quantize:q4_K_M", "report", "publish"]);
}

#[test]
fn a_touched_output_is_hashed_and_not_made_again() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let out = workspace.path.join("out/f32.gguf");
    std::fs::File::options()
        .append(true)
        .open(&out)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(run_job(&workspace, workspace.job()), ["verify"]);
    std::fs::write(&out, "8 weights").unwrap();
    assert_eq!(run_job(&workspace, workspace.job()), ["verify", "convert"]);
}

#[test]
fn a_moved_destination_is_followed() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let mut job = workspace.job();
    job.convert.gguf = Some(workspace.path.join("elsewhere/f32.gguf"));
    let plan = planned(&workspace, job.clone());
    assert!(plan[0].1.starts_with("convert.gguf: "), "{plan:?}");
    let ran = run_job(&workspace, job);
    // The report has read convert's result, which names the file.
    assert_eq!(ran, ["convert", "report"]);
    assert!(workspace.path.join("elsewhere/f32.gguf").is_file());
}

#[test]
fn without_its_records_the_job_is_done_again_over_what_is_there() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    std::fs::remove_dir_all(workspace.path.join(".qrun")).unwrap();
    assert_eq!(run_job(&workspace, workspace.job()).len(), ALL.len());
    let kept = std::fs::read_dir(workspace.path.join("out"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("kept"))
        .count();
    assert_eq!(kept, 0, "the same bytes need not be kept twice");
}

#[test]
fn a_stranger_under_an_outputs_name_is_kept() {
    let workspace = Workspace::new();
    std::fs::create_dir(workspace.path.join("out")).unwrap();
    std::fs::write(workspace.path.join("out/f32.gguf"), "precious").unwrap();
    run_job(&workspace, workspace.job());
    let kept = std::fs::read_dir(workspace.path.join("out"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.to_string_lossy().contains("f32.gguf.kept-"))
        .unwrap();
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "precious");
    assert_eq!(std::fs::read_to_string(workspace.path.join("out/f32.gguf")).unwrap(), "7 weights");
}

#[test]
fn a_moved_workspace_is_hashed_and_fresh() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let workspace = workspace.moved("elsewhere");
    let plan = planned(&workspace, workspace.job());
    assert!(plan[0].1.starts_with("unverified, "), "{plan:?}");
    assert!(plan[1..].iter().all(|(_, why)| why.starts_with("waits for ")), "{plan:?}");
    assert_eq!(run_job(&workspace, workspace.job()), ["verify"]);
    assert!(run_job(&workspace, workspace.job()).is_empty());
}

#[test]
fn two_manifests_of_a_name_share_what_is_the_same_and_leave_each_other_the_rest() {
    let workspace = Workspace::new();
    let [a, mut b] = ["a", "b"].map(|name| {
        let manifest = workspace.path.join(format!("{name}.toml"));
        let mut job = Job { manifest, ..workspace.job() };
        job.report.dir = workspace.path.join(name);
        job.bench.out = workspace.path.join(name).join("bench.json");
        job
    });
    b.formats[1].spec.tensors = vec![rule("^output", GgmlType::Q8_0)];
    run_job(&workspace, a.clone());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let ran = run_job(&workspace, b.clone());
    let own = |id: &String| id.contains("q4_K_S") || ["report", "publish"].contains(&id.as_str());
    assert!(ran.contains(&"quantize:q4_K_S".to_owned()) && ran.iter().all(own), "{ran:?}");
    // Neither undoes what the other did.
    for job in [&a, &b, &a] {
        assert!(planned(&workspace, job.clone()).is_empty());
        assert!(run_job(&workspace, job.clone()).is_empty());
    }
    // What the last one was is each one's own.
    let mut changed = b.clone();
    changed.bench.runs = 11;
    assert!(planned(&workspace, changed)[0].1.contains("bench.runs: 10 -> 11"));
}

#[test]
fn a_renamed_job_measures_nothing_again() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let mut job = workspace.job();
    job.manifest = workspace.path.join("jobs/renamed.toml");
    job.name = "renamed".into();
    // Its formats have other names, so they are written; what they are is known by their bytes.
    let ran = run_job(&workspace, job);
    assert_eq!(ran, ["quantize:q4_K_M", "quantize:q4_K_S", "report", "publish"]);
}

#[test]
fn a_renamed_manifest_is_told_in_the_report_and_changes_nothing_else() {
    let workspace = Workspace::new();
    std::fs::create_dir(workspace.path.join("jobs")).unwrap();
    std::fs::write(workspace.path.join("jobs/tiny.toml"), "a manifest").unwrap();
    run_job(&workspace, workspace.job());
    let renamed = workspace.path.join("jobs/renamed.toml");
    std::fs::rename(workspace.path.join("jobs/tiny.toml"), &renamed).unwrap();
    let job = Job { manifest: renamed, ..workspace.job() };
    let why = "report.command: qrun jobs/tiny.toml -> qrun jobs/renamed.toml; \
               report.made_from[manifest].file.path: jobs/tiny.toml -> jobs/renamed.toml";
    assert_eq!(planned(&workspace, job.clone()), [("report".to_owned(), why.to_owned())]);
    assert_eq!(run_job(&workspace, job.clone()), ["report"]);
    assert!(planned(&workspace, job).is_empty());
}

#[test]
fn formats_in_another_order_are_told() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let mut job = workspace.job();
    job.formats.swap(0, 1);
    let plan = planned(&workspace, job.clone());
    let report = plan.iter().find(|(id, _)| id == "report").unwrap();
    assert!(report.1.contains("report.candidates: q4_K_M, q4_K_S -> q4_K_S, q4_K_M"), "{report:?}");
    assert!(plan.iter().all(|(_, why)| !why.is_empty()), "{plan:?}");
    let ran = run_job(&workspace, job.clone());
    assert!(ran.iter().all(|id| id == "report" || id == "publish"), "{ran:?}");
    assert!(run_job(&workspace, job).is_empty());
}

#[test]
fn formats_with_the_same_bytes_are_measured_each_for_itself_and_stay_fresh() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.formats.push(format("twin", false));
    job.formats[2].spec.base = job.formats[0].spec.base.clone();
    let ran = run_job(&workspace, job.clone());
    for step in ["quantize:twin", "bench:twin", "bench:q4_K_M"] {
        assert!(ran.contains(&step.to_owned()), "{step}: {ran:?}");
    }
    assert!(planned(&workspace, job.clone()).is_empty());
    assert!(run_job(&workspace, job).is_empty());
}
