//! Scheduler, plan, state and records together, over an executor that does no real work.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::worker::perform;
use super::{Executor, Options, Pending, RunObserver, StepReport, Success, Summary, Work, run};
use crate::ggml::GgmlType;
use crate::manifest::Job;
use crate::plan::testing::{Workspace, format, rule};
use crate::plan::{Plan, Verdict};
use crate::state::{RunOutcome, Status};
use crate::steps::{
    Context, ErrorClass, Event, FileDigest, PublishResult, StepError, StepSpec, VerifyResult,
    WriteResult, write_atomic,
};

/// Does steps in this process: model files are the digests of what they are made from.
#[derive(Default)]
struct Mock {
    ran: Rc<RefCell<Vec<String>>>,
    /// Steps that fail.
    fail: BTreeSet<String>,
    /// Steps that set the run's cancellation and stop.
    interrupt: BTreeSet<String>,
    /// Steps during which the corpus, or for convert the checkpoint, changes.
    edit: BTreeSet<String>,
    /// What happens once a step of this name has ended.
    after: BTreeMap<String, Rc<dyn Fn()>>,
    /// Steps whose worker records its success and dies before it can say so.
    die_at_the_end: BTreeSet<String>,
    /// Measurements differ from run to run.
    tick: Rc<RefCell<u64>>,
}

impl Executor for Mock {
    fn execute(&self, work: Work) -> Pending {
        let record = work.order.record.clone().unwrap();
        self.ran.borrow_mut().push(record.step.clone());
        *self.tick.borrow_mut() += 1;
        let tick = *self.tick.borrow();
        let step = record.step;
        let (fail, interrupt) = (self.fail.contains(&step), self.interrupt.contains(&step));
        let edit = self.edit.contains(&step);
        let dies = self.die_at_the_end.contains(&step);
        let after = self.after.get(&step).cloned();
        Box::pin(async move {
            let result =
                perform(&work.order, &work.cancelled, &*work.events, |spec, _: &Context| {
                    if fail {
                        return Err(StepError::new(ErrorClass::Step, format!("{step} broke")));
                    }
                    if interrupt {
                        work.cancelled.store(true, Ordering::Relaxed);
                        return Err(StepError::interrupted());
                    }
                    let edited = match spec {
                        StepSpec::Evaluate(spec) => Some(spec.corpus[0].clone()),
                        StepSpec::Convert(spec) => Some(spec.checkpoint.join("config.json")),
                        _ => None,
                    };
                    if let (true, Some(edited)) = (edit, edited) {
                        std::fs::write(edited, "edited meanwhile").unwrap();
                    }
                    fake(spec, tick)
                })?;
            if let Some(after) = after {
                after();
            }
            if dies {
                return Err(StepError::new(ErrorClass::Step, "died at the very end"));
            }
            Ok(Success { result, peak_rss_bytes: Some(1) })
        })
    }
}

fn digest(path: &Utf8Path) -> FileDigest {
    let bytes = std::fs::read(path).unwrap();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    FileDigest { path: path.to_owned(), bytes: bytes.len() as u64, sha256 }
}

fn fake(spec: &StepSpec, tick: u64) -> Result<Value, StepError> {
    let write = |path: &Utf8Path, content: String, force: bool| {
        let output = write_atomic(path, content.as_bytes(), force)?;
        let written =
            WriteResult { output, tensors: Vec::new(), resumed_tensors: 0, bits_per_weight: 4.5 };
        Ok(serde_json::to_value(written).unwrap())
    };
    Ok(match spec {
        StepSpec::Verify(spec) => {
            let files = spec.files.iter().map(|(name, expected)| {
                let found = digest(&spec.directory.join(name));
                match expected {
                    Some(expected) if *expected != found.sha256 => {
                        Err(StepError::new(ErrorClass::Input, format!("{name} is not it")))
                    }
                    _ => Ok(found),
                }
            });
            let files = files.collect::<Result<_, _>>()?;
            serde_json::to_value(VerifyResult { files }).unwrap()
        }
        // Only the length of the weights counts, so that some changes of them change nothing.
        StepSpec::Convert(spec) => {
            let weights = std::fs::read(spec.checkpoint.join("model.safetensors")).unwrap();
            return write(&spec.out, format!("{} weights", weights.len()), spec.force);
        }
        StepSpec::Quantize(spec) => {
            let crate::steps::QuantizeSource::Gguf(source) = &spec.source else { panic!() };
            let source = std::fs::read_to_string(source).unwrap();
            let content = format!("{source} as {} {:?}", spec.format.base, spec.format.tensors);
            return write(&spec.out, content, spec.force);
        }
        StepSpec::Publish(spec) => {
            serde_json::to_value(PublishResult { files: spec.files.clone(), sha256_list: None })
                .unwrap()
        }
        StepSpec::Bench(_) => json!({ "p95_ms": tick }),
        StepSpec::Report(spec) => {
            let text = serde_json::to_vec(spec).unwrap();
            let markdown = write_atomic(&spec.dir.join("report"), &text, true)?;
            let recommendation = json!({
                "verdict": "keep", "reason": "", "judgements": [], "cautions": []
            });
            json!({
                "markdown": markdown, "json": [], "logs": [], "recommendation": recommendation
            })
        }
        _ => json!({}),
    })
}

#[derive(Default)]
struct Quiet;

impl RunObserver for Quiet {
    fn started(&self, _: &str) {}
    fn event(&self, _: &str, _: &Event) {}
    fn ended(&self, _: &StepReport) {}
}

/// Runs `job` and returns what ran, in order, and the summary.
fn run_with(
    mock: Mock,
    workspace: &Workspace,
    job: Job,
    keep_going: bool,
    prepare: impl FnOnce(&mut Plan),
) -> (Vec<String>, Summary) {
    let mut plan = workspace.plan(job);
    prepare(&mut plan);
    let ran = Rc::clone(&mock.ran);
    let options = Options { keep_going, threads: 1, command: "qrun".into() };
    let cancelled = Arc::new(AtomicBool::new(false));
    let summary = run(&mut plan, &options, Rc::new(mock), &Quiet, &cancelled).unwrap();
    (ran.take(), summary)
}

fn run_job(workspace: &Workspace, job: Job) -> Vec<String> {
    let (ran, summary) = run_with(Mock::default(), workspace, job, false, |_| {});
    assert_eq!(summary.failure(), None, "{summary:?}");
    ran
}

/// Verdicts and reasons of a plan, as text.
fn planned(workspace: &Workspace, job: Job) -> Vec<(String, String)> {
    let mut plan = workspace.plan(job);
    let judged = plan.judge_all().unwrap();
    let text = |verdict: &Verdict| match verdict {
        Verdict::Fresh => String::new(),
        Verdict::Stale { reasons } => {
            reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        Verdict::WaitsFor { steps } => format!("waits for {}", steps.join(", ")),
        Verdict::Blocked { problems } => problems.join("; "),
    };
    plan.graph()
        .nodes()
        .zip(&judged)
        .filter(|(_, j)| j.verdict != Verdict::Fresh)
        .map(|(node, j)| (node.id.clone(), text(&j.verdict)))
        .collect()
}

const ALL: [&str; 19] = [
    "verify",
    "convert",
    "quantize:ref:quality",
    "quantize:q4_K_M",
    "load_check:q4_K_M",
    "quantize:q4_K_S",
    "load_check:q4_K_S",
    "bench:ref:stability",
    "bench:ref:quality",
    "bench:q4_K_M",
    "bench:q4_K_S",
    "evaluate:q4_K_M",
    "evaluate:q4_K_S",
    "compare:q4_K_M:stability",
    "compare:q4_K_M:quality",
    "compare:q4_K_S:stability",
    "compare:q4_K_S:quality",
    "report",
    "publish",
];

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn everything_runs_once_and_then_nothing_does() {
    let workspace = Workspace::new();
    let ran = run_job(&workspace, workspace.job());
    assert_eq!(sorted(ran), sorted(ALL.map(String::from).to_vec()));
    assert!(run_job(&workspace, workspace.job()).is_empty());
    assert!(planned(&workspace, workspace.job()).is_empty());
    let state = crate::state::State::open(&workspace.path).unwrap();
    let last = state.last_run(Some("tiny")).unwrap().unwrap();
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
            .chain([(
                "report".to_owned(),
                format!(
                    "waits for {}",
                    [benches[2], benches[3], benches[0], benches[1]].join(", ")
                )
            )])
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
fn a_renamed_checkpoint_is_another_model() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    std::fs::rename(workspace.path.join("checkpoint"), workspace.path.join("other")).unwrap();
    let mut job = workspace.job();
    job.input.checkpoint = workspace.path.join("other");
    let renamed = "input.checkpoint.name: checkpoint -> other";
    assert_eq!(planned(&workspace, job.clone())[1], ("convert".to_owned(), renamed.to_owned()));
    // The mock's convert writes the same bytes.
    assert_eq!(run_job(&workspace, job), ["verify", "convert"]);
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
    assert_eq!(run_job(&workspace, workspace.job()), ["verify", "convert"]);
    assert!(run_job(&workspace, workspace.job()).is_empty());
}

#[test]
fn a_missing_output_is_made_again_under_a_new_name() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let state = crate::state::State::open(&workspace.path).unwrap();
    let old =
        state.last_action("tiny", "quantize:q4_K_M").unwrap().unwrap().outputs[0].path.clone();
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
    assert_eq!(ran, ["convert"]);
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

fn named(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn a_failure_stops_new_steps_but_the_report() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["load_check:q4_K_M"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!(ran[ran.len() - 2..], ["load_check:q4_K_M", "report"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Step));
    assert_eq!(summary.count(Status::Failed), 1);
    assert_eq!(summary.steps.len(), ALL.len());
    assert_eq!(summary.count(Status::Skipped), ALL.len() - 6);
    let report = std::fs::read(workspace.path.join("reports/report")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let failures = &report["candidates"][0]["failures"];
    assert_eq!(failures["load_check:q4_K_M"], "load_check:q4_K_M broke");
}

#[test]
fn keep_going_finishes_what_does_not_depend_on_the_failure() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["load_check:q4_K_S"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), true, |_| {});
    assert!(ran.contains(&"report".to_owned()) && ran.contains(&"bench:q4_K_M".to_owned()));
    assert!(!ran.contains(&"bench:q4_K_S".to_owned()) && !ran.contains(&"publish".to_owned()));
    let skipped = summary.steps.iter().find(|s| s.step == "bench:q4_K_S").unwrap();
    assert_eq!(skipped.message.as_deref(), Some("load_check:q4_K_S failed"));
    let report = std::fs::read(workspace.path.join("reports/report")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let failed = &report["candidates"][1];
    assert_eq!(failed["failures"]["load_check:q4_K_S"], "load_check:q4_K_S broke");
    assert!(failed["bench"].is_null() && failed["quantize"].is_object());
    // Once it works, only what was missing runs.
    let ran = run_job(&workspace, workspace.job());
    assert!(ran.contains(&"load_check:q4_K_S".to_owned()) && ran.contains(&"publish".to_owned()));
    assert!(!ran.contains(&"quantize:q4_K_S".to_owned()), "{ran:?}");
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped_and_keeps_its_names() {
    let workspace = Workspace::new();
    let mock = Mock { interrupt: named(&["quantize:q4_K_M"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), true, |_| {});
    assert_eq!(ran.last().unwrap(), "quantize:q4_K_M");
    assert_eq!(summary.failure(), Some(ErrorClass::Interrupted));
    let state = crate::state::State::open(&workspace.path).unwrap();
    let begun = state.pending("tiny", "quantize:q4_K_M").unwrap().unwrap().outputs;
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let ran = run_job(&workspace, workspace.job());
    assert_eq!(ran[0], "quantize:q4_K_M");
    let action = state.last_action("tiny", "quantize:q4_K_M").unwrap().unwrap();
    assert_eq!([action.outputs[0].path.clone()], begun.as_slice());
    assert_eq!(state.pending("tiny", "quantize:q4_K_M").unwrap(), None);
}

#[test]
fn a_worker_that_died_after_its_record_has_lost_nothing() {
    let workspace = Workspace::new();
    let mock = Mock { die_at_the_end: named(&["convert"]), ..Mock::default() };
    let (_, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!(summary.failure(), Some(ErrorClass::Step));
    let ran = run_job(&workspace, workspace.job());
    assert!(!ran.contains(&"convert".to_owned()), "{ran:?}");
}

#[test]
fn an_input_that_changes_under_a_step_spoils_its_result() {
    let workspace = Workspace::new();
    let mock = Mock { edit: named(&["evaluate:q4_K_M"]), ..Mock::default() };
    let (_, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    let failed = summary.steps.iter().find(|s| s.status == Status::Failed).unwrap();
    assert_eq!(failed.step, "evaluate:q4_K_M");
    assert!(failed.message.as_ref().unwrap().contains("changed while this step read it"));
    let ran = run_job(&workspace, workspace.job());
    assert_eq!(ran[..3], ["verify", "evaluate:q4_K_M", "evaluate:q4_K_S"]);
}

#[test]
fn a_model_file_made_of_changing_inputs_does_not_stay() {
    let workspace = Workspace::new();
    std::fs::create_dir(workspace.path.join("out")).unwrap();
    let out = workspace.path.join("out/f32.gguf");
    std::fs::write(&out, "precious").unwrap();
    let mock = Mock { edit: named(&["convert"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!(ran, ["verify", "convert"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Input));
    // What stood under its name stands there again, and nothing else.
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(workspace.path.join("out")).unwrap().count(), 1);
}

#[test]
fn an_input_that_changes_behind_verify_is_not_taken_for_what_verify_saw() {
    let workspace = Workspace::new();
    let weights = workspace.path.join("checkpoint/model.safetensors");
    let edited = weights.clone();
    // As long as before.
    let edit: Rc<dyn Fn()> = Rc::new(move || std::fs::write(&edited, "WEIGHTS").unwrap());
    let after = BTreeMap::from([("verify".to_owned(), edit)]);
    let (ran, summary) =
        run_with(Mock { after, ..Mock::default() }, &workspace, workspace.job(), false, |_| {});
    assert_eq!(ran, ["verify"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Input));
    let state = crate::state::State::open(&workspace.path).unwrap();
    assert_eq!(state.last_action("tiny", "convert").unwrap(), None);
    assert_eq!(run_job(&workspace, workspace.job()).len(), ALL.len());
}

#[test]
fn an_input_that_changes_while_a_step_waits_for_its_turn_spoils_it() {
    let workspace = Workspace::new();
    let corpus = workspace.path.join("corpus.txt");
    // Its turn comes after the benches.
    let edit: Rc<dyn Fn()> = Rc::new(move || std::fs::write(&corpus, "meanwhile").unwrap());
    let after = BTreeMap::from([("bench:q4_K_S".to_owned(), edit)]);
    let (ran, summary) =
        run_with(Mock { after, ..Mock::default() }, &workspace, workspace.job(), false, |_| {});
    let failed = summary.steps.iter().find(|s| s.status == Status::Failed).unwrap();
    assert_eq!(failed.step, "evaluate:q4_K_M", "{ran:?}");
    assert!(failed.message.as_ref().unwrap().contains("waited for its turn"), "{summary:?}");
}

#[test]
fn force_redoes_and_only_restricts() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let select = |force: &[&str], only: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let (force, only) = (owned(force), owned(only));
        let prepare = move |plan: &mut Plan| {
            let selection = plan.find_steps(&force, &only).unwrap();
            plan.select(selection);
        };
        run_with(Mock::default(), &workspace, workspace.job(), false, prepare).0
    };
    assert_eq!(select(&["convert"], &[]), ["convert"]);
    assert_eq!(select(&["bench:q4_K_M"], &[]), ["bench:q4_K_M", "report"]);
    assert_eq!(select(&["bench"], &["bench:q4_K_S"]), ["bench:q4_K_S"]);
    // The report waits for its turn since then.
    assert_eq!(select(&["verify"], &[]), ["verify", "report"]);

    let plan = workspace.plan(workspace.job());
    let error = plan.find_steps(&["quantise:q4_K_M".into()], &[]).unwrap_err().to_string();
    assert!(error.contains("did you mean `quantize:q4_K_M`?"), "{error}");
}

#[test]
fn only_runs_what_the_step_needs() {
    let workspace = Workspace::new();
    let (ran, summary) = run_with(Mock::default(), &workspace, workspace.job(), false, |plan| {
        let selection = plan.find_steps(&[], &["load_check:q4_K_S".into()]).unwrap();
        plan.select(selection);
    });
    assert_eq!(ran, ["verify", "convert", "quantize:q4_K_S", "load_check:q4_K_S"]);
    assert_eq!(summary.steps.len(), 4);
}

#[test]
fn a_missing_reference_blocks_or_is_left_out() {
    use crate::manifest::ReferenceOrigin;
    let workspace = Workspace::new();
    std::fs::remove_file(workspace.path.join("given.gguf")).unwrap();
    let plan = planned(&workspace, workspace.job());
    assert!(plan[0].1.contains("reference stability: "), "{plan:?}");
    let mut job = workspace.job();
    job.references[0].origin = ReferenceOrigin::Given { required: false };
    let ran = run_job(&workspace, job.clone());
    assert!(!ran.iter().any(|s| s.contains("stability")), "{ran:?}");
    // The report says where it was looked for.
    job.references[0].gguf = workspace.path.join("nor_here.gguf");
    assert_eq!(run_job(&workspace, job), ["report"]);
}

#[test]
fn the_report_is_written_anew_when_what_it_names_is_named_otherwise() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let moved = workspace.path.join("moved.gguf");
    std::fs::rename(workspace.path.join("given.gguf"), &moved).unwrap();
    let mut job = workspace.job();
    job.references[0].gguf = moved;
    assert_eq!(run_job(&workspace, job.clone()), ["verify", "report"]);
    assert!(run_job(&workspace, job).is_empty());
}
