//! `qrun run`: run what is stale.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::direct::Threads;
use super::progress::{
    Expected, JsonEvents, Overall, PlannedStep, RunProgress, What, milliseconds,
};
use super::{CliError, Globals, interrupt, job, output};
use crate::exec::{self, Options, RunObserver, Summary, Workers};
use crate::plan::{Judgement, PUBLISH, Plan, REPORT, StepDemand, admit, render};
use crate::state::{RunOutcome, State, Status, lock_workspace};
use crate::steps::ErrorClass;

/// Run a job: whatever of it is stale
///
/// `qrun JOB.toml` is short for it. A step is named by its id (`qrun plan JOB.toml` lists them), or
/// by the start of its id up to a colon: `bench` names every bench.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's manifest
    #[arg(value_name = "JOB.toml")]
    manifest: Utf8PathBuf,
    /// After a failure, finish what does not depend on it, not the report only
    #[arg(long)]
    keep_going: bool,
    /// Run STEP even if it is fresh; may be given more than once
    #[arg(long, value_name = "STEP")]
    force: Vec<String>,
    /// Run nothing but STEP and what it needs; may be given more than once
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Take the checkpoint's files as they are into the job's lock, where they changed since they
    /// were pinned; digests in the manifest itself still hold
    #[arg(long)]
    accept_inputs: bool,
    #[command(flatten)]
    threads: Threads,
    /// Print what happens as JSON, one object a line, and nothing else (schemas/run_event.schema.json)
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let job = job::load(&args.manifest)?;
    let name = job.name.clone();
    let command = command_line();
    let _lock = lock_workspace(&job.workspace, &command)?;
    let (state, kept) = State::open_or_begin(&job.workspace)?;
    if let Some(kept) = kept {
        output::note(&format!("warning: {kept}"));
    }
    exec::take_in_all(&state, &job.workspace)?;
    let mut plan = job::plan(job, Some(state), args.threads)?;
    if args.accept_inputs {
        plan.accept_inputs();
    }
    let selection = plan.find_steps(&args.force, &args.only)?;
    plan.select(selection);

    let judgements = plan.judge_all()?;
    let mut demand = plan.demand(&judgements)?;
    plan.estimate(&judgements, &mut demand)?;
    let planned = planned(&plan, &judgements, &demand.steps);
    let to_run = || planned.iter().filter(|step| step.verdict != "fresh");
    if to_run().next().is_some() {
        admit(&judgements, &demand)?;
    }
    plan.reset();
    let overall = Overall::new(to_run().map(|step| {
        let time = |ms: i64| u64::try_from(ms).ok().map(Duration::from_millis);
        let took = step.last_duration_ms.and_then(time).map(Expected::Took);
        let about = || step.estimated_duration_ms.and_then(time).map(Expected::About);
        (step.step.clone(), took.or_else(about))
    }));
    let cancelled = interrupt::flag();
    let options = Options { keep_going: args.keep_going, threads: args.threads.count(), command };
    let mut go = |observer: &dyn RunObserver| {
        exec::run(&mut plan, &options, Rc::new(Workers::new()?), observer, &cancelled)
    };
    let exit_code = |summary: &Summary| summary.failure().map_or(0, ErrorClass::exit_code);
    if args.json {
        let events = JsonEvents::new(globals.verbose, overall);
        events.write(What::RunStarted {
            job: name,
            qrun_version: env!("CARGO_PKG_VERSION").to_owned(),
            steps: planned,
        });
        let summary = go(&events)?;
        events.write(ended(&plan, &summary, started)?);
        return Ok(exit_code(&summary).into());
    }
    if globals.verbose > 0 {
        planned.iter().for_each(|step| output::note(&decision(step)));
    }
    let progress = RunProgress::new(globals, overall);
    let summary = go(&progress);
    progress.finish();
    let summary = summary?;
    output::tell(&describe(&plan, &summary, started)?)?;
    Ok(exit_code(&summary).into())
}

/// What is to become of each step, those left out by `--only` excepted.
fn planned(plan: &Plan, judgements: &[Judgement], demand: &[StepDemand]) -> Vec<PlannedStep> {
    let steps = (0..judgements.len()).filter(|step| !plan.is_left_out(*step));
    steps
        .map(|step| {
            let verdict = &judgements[step].verdict;
            PlannedStep {
                step: plan.graph().node(step).id.clone(),
                verdict: verdict.word().to_owned(),
                why: render::why(verdict),
                last_duration_ms: demand[step].last_duration_ms,
                estimated_duration_ms: demand[step].estimated_duration_ms,
            }
        })
        .collect()
}

/// `quantize:q4_K_M: stale: format.base: q4_K_S -> q4_K_M`.
fn decision(step: &PlannedStep) -> String {
    let why = step.why.iter().map(|why| format!(": {why}")).collect::<String>();
    format!("{}: {}{why}", step.step, step.verdict)
}

/// The last line of a run's events.
fn ended(plan: &Plan, summary: &Summary, started: Instant) -> Result<What, CliError> {
    let failure = summary.failure();
    let report = plan.done(REPORT);
    Ok(What::RunEnded {
        job: plan.job.name.clone(),
        outcome: match failure {
            None => RunOutcome::Done,
            Some(ErrorClass::Interrupted) => RunOutcome::Interrupted,
            Some(_) => RunOutcome::Failed,
        },
        exit_code: failure.map_or(0, ErrorClass::exit_code),
        duration_ms: milliseconds(started.elapsed()),
        done: summary.count(Status::Done),
        fresh: summary.count(Status::Fresh),
        failed: summary.count(Status::Failed),
        interrupted: summary.count(Status::Interrupted),
        skipped: summary.count(Status::Skipped),
        accepted: plan.accepted_and_pinned()?,
        missing_references: plan.missing_references().keys().cloned().collect(),
        report: report.and_then(|report| Some(report.outputs.first()?.path.to_string())),
        recommendation: report
            .and_then(|report| report.result["recommendation"]["reason"].as_str())
            .map(str::to_owned),
    })
}

/// The command line as it was typed, for the records.
fn command_line() -> String {
    let mut words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(program) = words.first_mut()
        && let Some(name) = Utf8Path::new(&*program).file_name()
    {
        *program = name.to_owned();
    }
    words.join(" ")
}

fn describe(plan: &Plan, summary: &Summary, started: Instant) -> Result<String, CliError> {
    let name = &plan.job.name;
    let (done, fresh) = (summary.count(Status::Done), summary.count(Status::Fresh));
    let (failed, skipped) = (summary.count(Status::Failed), summary.count(Status::Skipped));
    let took = render::duration(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
    let mut lines = vec![match (done, failed, summary.failure()) {
        (_, _, Some(ErrorClass::Interrupted)) => {
            format!("{name}: interrupted after {took}; the same command goes on from here")
        }
        (0, 0, _) => format!("{name}: nothing to do, {} fresh", steps(fresh)),
        (_, 0, _) => format!("{name}: {} ran, {fresh} fresh, in {took}", steps(done)),
        _ => format!(
            "{name}: {} failed, {done} ran, {fresh} fresh, {skipped} skipped",
            steps(failed)
        ),
    }];
    for step in summary.steps.iter().filter(|s| s.status == Status::Failed) {
        let message = step.message.as_deref().unwrap_or("no message");
        lines.push(format!("  {}: {}", step.step, message.replace('\n', "\n    ")));
        if let Some(log) = &step.log {
            lines.push(format!("    log: {}", job::shown(log)));
        }
    }
    lines
        .extend(plan.accepted_and_pinned()?.into_iter().map(|change| format!("accepted {change}")));
    for (name, gguf) in plan.missing_references() {
        lines.push(format!("  reference {name} is missing and left out: {gguf}"));
    }
    if let Some(report) = plan.done(REPORT) {
        if let Some(path) = report.outputs.first() {
            lines.push(format!("report: {}", job::shown(&path.path)));
        }
        if let Some(reason) = report.result["recommendation"]["reason"].as_str() {
            lines.push(format!("recommendation: {reason}"));
        }
    }
    lines.extend(published(plan, summary));
    Ok(lines.join("\n"))
}

/// What was published, or why nothing was.
fn published(plan: &Plan, summary: &Summary) -> Option<String> {
    let publish = plan.job.publish.as_ref()?;
    if let Some(done) = plan.done(PUBLISH) {
        let step = plan.graph().find(PUBLISH)?;
        let remark = plan.graph().node(step).draft.effects(&done.result).ok()?.remark?;
        return Some(format!("published in {}: {remark}", job::shown(&publish.to)));
    }
    let step = summary.steps.iter().find(|s| s.step == PUBLISH)?;
    let skipped = step.status == Status::Skipped;
    skipped.then(|| format!("not published: {}", step.message.as_deref().unwrap_or_default()))
}

fn steps(n: usize) -> String {
    format!("{n} step{}", if n == 1 { "" } else { "s" })
}
