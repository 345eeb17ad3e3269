//! A run as lines of JSON on standard output, for programs that watch it. What a line may say is
//! fixed here and in the schema made from it: fields are added, never renamed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::step::StepProgress;
use super::{Overall, least};
use crate::cli::output;
use crate::exec::{RunObserver, StepReport};
use crate::state::{RunOutcome, Status};
use crate::steps::{ErrorClass, Event, Level, Unit};

/// Pause between two lines on the progress of a step.
const INTERVAL: Duration = Duration::from_secs(1);

/// One line of `qrun run --json`: what happened, and when.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunEvent {
    /// UTC, as 2026-01-31T12:00:00.000Z.
    time: String,
    #[serde(flatten)]
    what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The first line: what is to be done.
    RunStarted {
        job: String,
        qrun_version: String,
        /// In the order in which they may run.
        steps: Vec<PlannedStep>,
    },
    /// A step starts.
    StepStarted { step: String },
    /// What a step does before or beside its work, of which its progress then tells; null: it is at
    /// its work.
    StepStage { step: String, doing: Option<String> },
    /// How far a step is; at most once a second, and once at its end.
    StepProgress {
        step: String,
        unit: Unit,
        done: u64,
        /// Absent where it is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// By what was done in this run alone; absent before that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        per_second: Option<f64>,
        /// Time left for this step; absent before that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        left_ms: Option<u64>,
        /// Steps of the run that have ended, of those that were to run.
        steps_ended: usize,
        steps_to_run: usize,
        /// Time left for all steps; absent as long as that of one is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        run_left_ms: Option<u64>,
    },
    /// A line of a step's log: warnings always, `info` with -v, `debug` with -vv.
    StepLog { step: String, level: Level, message: String },
    /// A number worth showing while the step runs; the name carries its unit.
    StepMetric { step: String, name: String, value: f64 },
    /// A step has ended, was fresh, or is skipped.
    StepEnded {
        step: String,
        status: Status,
        /// Why it failed or was skipped.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Of a failure.
        #[serde(skip_serializing_if = "Option::is_none")]
        class: Option<ErrorClass>,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        peak_rss_bytes: Option<u64>,
        /// The files that it wrote, or has written when it was fresh.
        outputs: Vec<String>,
        /// Bytes that it wrote in this run, not those of files that it found there.
        written_bytes: u64,
        /// What else is to be said of its success, in a few words.
        #[serde(skip_serializing_if = "Option::is_none")]
        remark: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        log: Option<String>,
    },
    /// The last line.
    RunEnded {
        job: String,
        outcome: RunOutcome,
        exit_code: u8,
        duration_ms: u64,
        done: usize,
        fresh: usize,
        failed: usize,
        interrupted: usize,
        skipped: usize,
        /// What `--accept-inputs` changed in the job's lock, file by file.
        accepted: Vec<String>,
        /// References that are not required and not there.
        missing_references: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        report: Option<String>,
        /// Why the recommended format is recommended.
        #[serde(skip_serializing_if = "Option::is_none")]
        recommendation: Option<String>,
    },
}

/// A step as planned.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PlannedStep {
    pub step: String,
    /// `fresh`, `stale`, `waits` or `blocked`.
    pub verdict: String,
    /// Why, in words.
    pub why: Vec<String>,
    /// How long its last success took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_duration_ms: Option<i64>,
    /// About how long it will take, where it runs and never did: from sizes and a short trial of this
    /// machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_duration_ms: Option<i64>,
}

impl RunEvent {
    /// The JSON schema of a line.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Writes a run as it goes.
pub struct JsonEvents {
    least: Level,
    inner: RefCell<Inner>,
}

struct Inner {
    overall: Overall,
    /// Those that run, with the time from which a line on their progress is due.
    running: BTreeMap<String, (StepProgress, Instant)>,
}

impl JsonEvents {
    /// Of the steps in `overall`, as verbose as the command line says.
    pub fn new(verbose: u8, overall: Overall) -> Self {
        let inner = RefCell::new(Inner { overall, running: BTreeMap::new() });
        Self { least: least(verbose), inner }
    }

    /// Writes a line. A reader that went away must not end the run.
    pub fn write(&self, what: What) {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        if let Ok(line) = serde_json::to_string(&RunEvent { time, what }) {
            output::line(&line);
        }
    }

    fn progress(&self, step: &str, done: u64, total: u64, unit: Unit, now: Instant) {
        let mut inner = self.inner.borrow_mut();
        match inner.running.get_mut(step) {
            Some((_, due)) if now >= *due || done == total => *due = now + INTERVAL,
            _ => return,
        }
        let expectations: Vec<_> =
            inner.running.values().map(|(progress, _)| progress.expectation(now)).collect();
        let own = expectations.iter().find(|(name, ..)| *name == step).and_then(|e| e.2);
        let (steps_ended, steps_to_run) = inner.overall.steps();
        let what = What::StepProgress {
            step: step.to_owned(),
            unit,
            done,
            total: (total > 0).then_some(total),
            per_second: inner.running.get(step).and_then(|(p, _)| p.per_second(now)),
            left_ms: own.map(milliseconds),
            steps_ended,
            steps_to_run,
            run_left_ms: inner.overall.left(&expectations).map(milliseconds),
        };
        drop(inner);
        self.write(what);
    }
}

/// A time in ms.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl RunObserver for JsonEvents {
    fn started(&self, step: &str) {
        let progress = (StepProgress::new(step), Instant::now());
        self.inner.borrow_mut().running.insert(step.to_owned(), progress);
        self.write(What::StepStarted { step: step.to_owned() });
    }

    fn event(&self, step: &str, event: &Event) {
        let now = Instant::now();
        if let Some((progress, _)) = self.inner.borrow_mut().running.get_mut(step) {
            progress.event(event, now);
        }
        let step = step.to_owned();
        match event {
            Event::Progress { done, total, unit } => {
                self.progress(&step, *done, *total, *unit, now);
            }
            Event::Stage { doing } => self.write(What::StepStage { step, doing: doing.clone() }),
            Event::Metric { name, value } => {
                self.write(What::StepMetric { step, name: name.clone(), value: *value });
            }
            Event::Log { level, message } if *level >= self.least => {
                self.write(What::StepLog { step, level: *level, message: message.clone() });
            }
            // What came of the step is told when it ends.
            Event::Log { .. } | Event::Result { .. } | Event::Failed { .. } => {}
        }
    }

    fn ended(&self, step: &StepReport) {
        let took =
            step.duration_ms.and_then(|ms| u64::try_from(ms).ok().map(Duration::from_millis));
        {
            let mut inner = self.inner.borrow_mut();
            inner.running.remove(&step.step);
            inner.overall.end(&step.step, took.filter(|_| step.status == Status::Done));
        }
        self.write(What::StepEnded {
            step: step.step.clone(),
            status: step.status,
            message: step.message.clone(),
            class: step.class,
            duration_ms: step.duration_ms,
            peak_rss_bytes: step.peak_rss_bytes,
            outputs: step.outputs.iter().map(ToString::to_string).collect(),
            written_bytes: step.written_bytes,
            remark: step.remark.clone(),
            log: step.log.as_ref().map(ToString::to_string),
        });
    }
}
