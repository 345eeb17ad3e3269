//! Scheduler, plan, state and records together, over an executor that does no real work.

mod disturbances;
mod freshness;
mod publishing;
mod together;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::worker::perform;
use super::{
    Executor, Options, Pending, RunObserver, StepReport, Success, Summary, Work, WorkOrder, run,
};
use crate::files::{FileDigest, write_atomic};
use crate::ggml::GgmlType;
use crate::manifest::Job;
use crate::plan::testing::{Workspace, format, rule};
use crate::plan::{Plan, Verdict};
use crate::state::{RunOutcome, State, Status};
use crate::steps::{
    Arrival, Context, ErrorClass, Event, EventSink, PublishResult, PublishSpec, PublishedFile,
    StepError, StepSpec, VerifyResult, WriteResult,
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
    /// Steps whose worker dies if it has others to do with them.
    die_together: BTreeSet<String>,
    /// What the report recommends; `None` for q4_K_M.
    recommended: Option<&'static str>,
    /// What publish was told.
    published: Rc<RefCell<Option<PublishSpec>>>,
    /// Its workers are on another machine.
    elsewhere: bool,
    /// All that was asked of it.
    orders: Rc<RefCell<Vec<WorkOrder>>>,
    /// Measurements differ from run to run.
    tick: Rc<RefCell<u64>>,
}

/// What one step is to do.
struct Told {
    step: String,
    fails: bool,
    interrupts: bool,
    edits: bool,
}

impl Told {
    fn work(
        self,
        spec: &StepSpec,
        work: &Work,
        tick: u64,
        recommended: &str,
    ) -> Result<Value, StepError> {
        if self.fails {
            return Err(StepError::new(ErrorClass::Step, format!("{} broke", self.step)));
        }
        if self.interrupts {
            work.cancelled.store(true, Ordering::Relaxed);
            return Err(StepError::interrupted());
        }
        let edited = match spec {
            StepSpec::Evaluate(spec) => Some(spec.corpus[0].path.clone()),
            StepSpec::Convert(spec) => Some(spec.checkpoint.join("config.json")),
            _ => None,
        };
        if let (true, Some(edited)) = (self.edits, edited) {
            std::fs::write(edited, "edited meanwhile").unwrap();
        }
        fake(spec, tick, recommended)
    }
}

impl Mock {
    fn told(&self, step: &str) -> Told {
        Told {
            step: step.to_owned(),
            fails: self.fail.contains(step),
            interrupts: self.interrupt.contains(step),
            edits: self.edit.contains(step),
        }
    }
}

impl Executor for Mock {
    fn is_local(&self) -> bool {
        !self.elsewhere
    }

    fn execute(&self, work: Work) -> Pending {
        self.orders.borrow_mut().push(work.order.clone());
        *self.tick.borrow_mut() += 1;
        let tick = *self.tick.borrow();
        let steps: Vec<String> =
            work.order.tasks.iter().map(|task| task.record.clone().unwrap().step).collect();
        self.ran.borrow_mut().extend(steps.iter().cloned());
        for task in &work.order.tasks {
            if let StepSpec::Publish(spec) = &task.spec {
                *self.published.borrow_mut() = Some(spec.clone());
            }
        }
        let told: Vec<Told> = steps.iter().map(|step| self.told(step)).collect();
        let after: Vec<_> = steps.iter().filter_map(|step| self.after.get(step).cloned()).collect();
        let dies = steps.iter().any(|step| self.die_at_the_end.contains(step));
        let dies_at_once = steps.len() > 1 && steps.iter().any(|s| self.die_together.contains(s));
        let recommended = self.recommended.unwrap_or("q4_K_M");
        Box::pin(async move {
            let died = |when| Err(StepError::new(ErrorClass::Step, format!("died {when}")));
            if dies_at_once {
                return died("of being with others");
            }
            let events: Vec<&dyn EventSink> = work.events.iter().map(|e| &**e).collect();
            let mut told = told.into_iter();
            let results = perform(&work.order, &work.cancelled, &events, |steps| {
                let one = |(spec, _): &(&StepSpec, &Context<'_>)| {
                    let told = told.next().unwrap();
                    told.work(spec, &work, tick, recommended)
                };
                steps.iter().map(one).collect()
            });
            after.iter().for_each(|after| after());
            if dies {
                return died("at the very end");
            }
            let success = |result| Success { result, peak_rss_bytes: Some(1) };
            Ok(results.into_iter().map(|result| result.map(success)).collect())
        })
    }
}

fn digest(path: &Utf8Path) -> FileDigest {
    let bytes = std::fs::read(path).unwrap();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    FileDigest { path: path.to_owned(), bytes: bytes.len() as u64, sha256 }
}

fn fake(spec: &StepSpec, tick: u64, recommended: &str) -> Result<Value, StepError> {
    let write = |path: &Utf8Path, content: String, force: bool| {
        let output = write_atomic(path, content.as_bytes(), force)?;
        let written = WriteResult {
            output,
            parts: Vec::new(),
            tensors: Vec::new(),
            resumed_tensors: 0,
            bits_per_weight: 4.5,
            imatrix: None,
        };
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
            return write(&spec.out, format!("{} weights", weights.len()), spec.out.replace);
        }
        StepSpec::Quantize(spec) => {
            let crate::steps::QuantizeSource::Gguf(source) = &spec.source else { panic!() };
            let source = std::fs::read_to_string(&**source).unwrap();
            let mut content = format!("{source} as {} {:?}", spec.format.base, spec.format.tensors);
            if let Some(imatrix) = &spec.format.imatrix {
                content.push_str(&std::fs::read_to_string(&*imatrix.path).unwrap());
            }
            return write(&spec.out, content, spec.out.replace);
        }
        // In place.
        StepSpec::Publish(spec) => {
            let files = spec.files.iter().map(|file| PublishedFile {
                format: file.format.clone(),
                file: file.file.clone(),
                made: Arrival::InPlace,
                although: file.although.clone(),
            });
            let result = PublishResult {
                files: files.collect(),
                left_out: spec.left_out.is.clone(),
                others: spec.others.is.clone(),
                written_bytes: 0,
                sha256_list: None,
            };
            serde_json::to_value(result).unwrap()
        }
        StepSpec::Bench(_) => json!({ "p95_ms": tick }),
        StepSpec::Report(spec) => {
            let text = serde_json::to_vec(spec).unwrap();
            let markdown = write_atomic(&spec.dir.join("report"), &text, true)?;
            let recommendation = json!({
                "verdict": "keep", "reason": "", "judgements": [], "cautions": [],
                "format": recommended
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
    super::take_in_all(&State::open(&workspace.path).unwrap(), &workspace.path).unwrap();
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

fn named(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}
