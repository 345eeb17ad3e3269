//! Runs what is stale, in order, side by side where the machine allows it. Knows neither how a step
//! is done ([`Executor`]) nor who watches ([`RunObserver`]).

mod records;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use camino::Utf8PathBuf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};

use super::block_on;
use super::child::Success;
use super::commit;
use super::executor::{Executor, Outcome};
use super::observer::{RunObserver, StepReport, Summary};
use super::slots::Slots;
use super::step_log::Tee;
use crate::plan::{Done, Launch, Plan, REPORT, StepState, Verdict};
use crate::state::{Action, RunOutcome, State, Status};
use crate::steps::{ErrorClass, Event, StepError};

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Finish what does not depend on a failure.
    pub keep_going: bool,
    /// Threads for heavy work.
    pub threads: usize,
    /// The command line, for the records.
    pub command: String,
}

/// Runs every stale step of `plan`, which was made with an open state.
///
/// # Errors
/// If the run cannot start or its records cannot be kept. A step that fails is no error here: the
/// summary says so.
pub fn run(
    plan: &mut Plan,
    options: &Options,
    executor: Rc<dyn Executor>,
    observer: &dyn RunObserver,
    cancelled: &Arc<AtomicBool>,
) -> Result<Summary, StepError> {
    let local = LocalSet::new();
    block_on(local.run_until(async {
        let (tell, told) = unbounded_channel();
        let mut scheduler = Scheduler {
            plan,
            options,
            executor,
            observer,
            cancelled: Arc::clone(cancelled),
            run: None,
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            slots: Slots::default(),
            alone: BTreeSet::new(),
            reports: BTreeMap::new(),
            stop: None,
            tell,
        };
        scheduler.run(told).await
    }))?
}

struct Scheduler<'a> {
    plan: &'a mut Plan,
    options: &'a Options,
    executor: Rc<dyn Executor>,
    observer: &'a dyn RunObserver,
    cancelled: Arc<AtomicBool>,
    /// The run's number, once something runs.
    run: Option<i64>,
    /// Steps that are to run and wait for their turn.
    waiting: BTreeMap<usize, Launch>,
    running: BTreeMap<usize, Running>,
    slots: Slots,
    /// Steps that are done by themselves: a worker that had them with others died.
    alone: BTreeSet<usize>,
    reports: BTreeMap<usize, StepReport>,
    /// Why no further step starts.
    stop: Option<Stop>,
    tell: UnboundedSender<(usize, Event)>,
}

/// Why no further step starts.
#[derive(Clone)]
enum Stop {
    Interrupted,
    /// This step failed; the report, which is to tell of it, still starts.
    Failed(String),
}

impl Stop {
    /// Why a step does not start.
    fn reason(&self) -> String {
        match self {
            Stop::Interrupted => "interrupted before it started".to_owned(),
            Stop::Failed(step) => format!("{step} failed; --keep-going would go on"),
        }
    }
}

struct Running {
    started: Instant,
    launch: Launch,
    /// Where its success will be delivered.
    delivery: Utf8PathBuf,
    events: Arc<Tee>,
}

/// The steps of an order, and what came of it.
type Ended = (Vec<usize>, Outcome);

impl Scheduler<'_> {
    async fn run(
        &mut self,
        mut told: UnboundedReceiver<(usize, Event)>,
    ) -> Result<Summary, StepError> {
        let mut tasks: JoinSet<Ended> = JoinSet::new();
        loop {
            self.look_for_cancellation();
            self.advance()?;
            self.start_what_fits(&mut tasks)?;
            if self.running.is_empty() {
                if self.waiting.is_empty() {
                    break;
                }
                continue;
            }
            tokio::select! {
                // Events first: a step's last words come before its end.
                biased;
                Some((step, event)) = told.recv() => {
                    self.observer.event(&self.plan.graph().node(step).id, &event);
                }
                Some(ended) = tasks.join_next() => {
                    let (steps, outcome) = ended.map_err(|e| StepError::new(
                        ErrorClass::Step, format!("the scheduler lost a step: {e}")))?;
                    while let Ok((step, event)) = told.try_recv() {
                        self.observer.event(&self.plan.graph().node(step).id, &event);
                    }
                    self.end(&steps, outcome)?;
                }
            }
        }
        let summary = Summary { steps: std::mem::take(&mut self.reports).into_values().collect() };
        if let Some(run) = self.run {
            let outcome = match summary.failure() {
                None => RunOutcome::Done,
                Some(ErrorClass::Interrupted) => RunOutcome::Interrupted,
                Some(_) => RunOutcome::Failed,
            };
            self.state()?.finish_run(run, outcome)?;
        }
        Ok(summary)
    }

    fn state(&self) -> Result<&State, StepError> {
        self.plan.state().ok_or_else(|| {
            StepError::new(ErrorClass::Step, "the plan to run has no state: a bug in qrun")
        })
    }

    fn look_for_cancellation(&mut self) {
        if self.cancelled.load(Ordering::Relaxed) {
            self.stop = Some(Stop::Interrupted);
        }
    }

    /// Judges every step whose needs have all ended, until nothing more follows.
    fn advance(&mut self) -> Result<(), StepError> {
        // Each step stands after its needs, so that one pass sees everything that follows.
        for step in 0..self.plan.graph().len() {
            if !self.plan.is_ready(step) || self.waiting.contains_key(&step) {
                continue;
            }
            if let Some(reason) = self.plan.why_skip(step) {
                let reason = self.interrupted(step).unwrap_or(reason);
                self.skip(step, reason)?;
                continue;
            }
            let judgement = self.plan.judge(step)?;
            match judgement.verdict {
                Verdict::Fresh => self.keep(step, judgement.action.as_ref())?,
                Verdict::Blocked { problems } => {
                    let error = StepError::new(ErrorClass::Input, problems.join("\n"));
                    self.fail(step, error, None)?;
                }
                Verdict::Stale { .. } | Verdict::WaitsFor { .. } => {
                    if let Some(reason) = self.why_stopped(step) {
                        self.skip(step, reason)?;
                        continue;
                    }
                    match self.plan.launch(step, jiff::Timestamp::now()) {
                        Ok(launch) => {
                            self.waiting.insert(step, launch);
                        }
                        Err(error) => self.fail(step, error, None)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Why `step` does not start any more.
    fn why_stopped(&self, step: usize) -> Option<String> {
        match &self.stop {
            Some(Stop::Failed(_)) if self.plan.graph().node(step).id == REPORT => None,
            stop => stop.as_ref().map(Stop::reason),
        }
    }

    /// Why `step` is skipped if it is for the interrupt of the run, and not for a failure.
    fn interrupted(&self, step: usize) -> Option<String> {
        let stop = self.stop.as_ref().filter(|stop| matches!(stop, Stop::Interrupted))?;
        let failed = |from: usize| {
            self.reports.get(&from).is_some_and(|report| report.status == Status::Failed)
        };
        let needs = self.plan.graph().needs(step);
        let is_own = self.plan.is_left_out(step) || needs.iter().any(|(from, _)| failed(*from));
        (!is_own).then(|| stop.reason())
    }

    fn keep(&mut self, step: usize, action: Option<&Action>) -> Result<(), StepError> {
        let done = match action {
            Some(action) => {
                let id = &self.plan.graph().node(step).id;
                self.state()?.touch_action(self.plan.owner(), id, action)?;
                action.into()
            }
            None => Done::nothing(),
        };
        self.succeed(step, StepState::Fresh(done), None)
    }

    /// Starts waiting steps in order, as far as they fit beside what runs.
    fn start_what_fits(&mut self, tasks: &mut JoinSet<Ended>) -> Result<(), StepError> {
        if self.stop.is_some() {
            for (step, launch) in std::mem::take(&mut self.waiting) {
                match self.why_stopped(step) {
                    Some(reason) => self.skip(step, reason)?,
                    None => {
                        self.waiting.insert(step, launch);
                    }
                }
            }
            // Steps that wait for these are skipped with them.
            self.advance()?;
        }
        let steps: Vec<usize> = self.waiting.keys().copied().collect();
        let load = |step: &usize| self.plan.graph().node(*step).draft.kind().load;
        let fitting = self.slots.choose(steps.iter().map(|step| (*step, load(step))));
        for step in fitting {
            let group = self.with_its_like(step);
            let launches = group.iter().filter_map(|s| Some((*s, self.waiting.remove(s)?)));
            // One that went with an earlier one is not there any more.
            let launches: Vec<_> = launches.collect();
            if !launches.is_empty() {
                self.start(launches, tasks)?;
            }
        }
        Ok(())
    }

    /// `step` and all that wait and are best done together with it, in order.
    fn with_its_like(&self, step: usize) -> Vec<usize> {
        let shares = |step: &usize| {
            let launch = self.waiting.get(step).filter(|_| !self.alone.contains(step))?;
            launch.spec.shares()
        };
        let Some(shared) = shares(&step) else { return vec![step] };
        self.waiting
            .keys()
            .filter(|other| shares(other).as_ref() == Some(&shared))
            .copied()
            .collect()
    }

    /// Takes in how running steps ended that were done together.
    fn end(&mut self, steps: &[usize], outcome: Outcome) -> Result<(), StepError> {
        match outcome {
            Ok(results) => {
                for (step, result) in steps.iter().zip(results) {
                    self.end_one(*step, result)?;
                }
            }
            Err(error) if steps.len() > 1 && error.class != ErrorClass::Interrupted => {
                // Whichever of them it was, the others are not to fail with it.
                for step in steps {
                    self.begin_again(*step, &error)?;
                }
            }
            Err(error) => {
                for step in steps {
                    self.end_one(*step, Err(error.clone()))?;
                }
            }
        }
        Ok(())
    }

    /// Puts a step back among those that are to be judged; it will be done by itself, unless its
    /// success was delivered.
    fn begin_again(&mut self, step: usize, error: &StepError) -> Result<(), StepError> {
        self.slots.free(step);
        let Some(running) = self.running.remove(&step) else { return Ok(()) };
        if let Ok(mut log) = running.events.log.lock() {
            log.line(&format!("warn  {}; done again by itself", error.message));
        }
        commit::take_in(self.state()?, &self.plan.job.workspace, &running.delivery)?;
        self.alone.insert(step);
        self.plan.set_state(step, StepState::Undecided);
        Ok(())
    }

    /// Takes in how a running step ended.
    fn end_one(
        &mut self,
        step: usize,
        result: Result<Success, StepError>,
    ) -> Result<(), StepError> {
        self.slots.free(step);
        let Some(running) = self.running.remove(&step) else { return Ok(()) };
        let id = self.plan.graph().node(step).id.clone();
        let workspace = &self.plan.job.workspace;
        commit::take_in(self.state()?, workspace, &running.delivery)?;
        let success = match result {
            Ok(success) => success,
            Err(error) => return self.fail(step, error, Some(&running)),
        };
        // What the database gives back is what every later run will see.
        let action = self.state()?.action(self.plan.owner(), &id, &running.launch.key)?;
        let Some(action) = action else {
            let error = StepError::new(
                ErrorClass::Step,
                "it finished and left no record of it: a bug in qrun",
            );
            return self.fail(step, error, Some(&running));
        };
        let running = Some((&running, success.peak_rss_bytes));
        self.succeed(step, StepState::Done((&action).into()), running)
    }
}
