//! What a running step may use: where to send events, whether to stop, how many threads.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StepError;
use crate::files::{Mark, open_regular};

/// Bytes of a file that are read at a time.
const PIECE: usize = 4 << 20;

/// What a step says while it runs; one JSON line each on the worker's standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// How far the step is. `total` is zero where it is not known.
    Progress { done: u64, total: u64, unit: Unit },
    /// What it does before or beside its work, of which progress then tells; without one it is at
    /// its work.
    Stage { doing: Option<String> },
    /// A line for the step's log.
    Log { level: Level, message: String },
    /// A number worth showing while the step runs; the name carries its unit.
    Metric { name: String, value: f64 },
    /// The step's result; the last event of a success.
    Result { value: serde_json::Value },
    /// The last event of a failure.
    Failed { class: super::ErrorClass, message: String },
}

/// What progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Bytes,
    Tensors,
    Tokens,
    Runs,
}

/// Weight of a log line, the lightest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Takes the events of one step.
pub trait EventSink: Send + Sync {
    /// Takes one event. Must not block for long: kernels wait for it.
    fn emit(&self, event: Event);
}

/// What a running step may use.
#[derive(Clone)]
pub struct Context<'a> {
    /// Where events go.
    pub events: &'a dyn EventSink,
    /// Set when the step should stop at the next safe point.
    pub cancelled: &'a AtomicBool,
    /// Threads for heavy work; at least one.
    pub threads: usize,
    /// Directory for journals of unfinished outputs; without one nothing is resumed.
    pub journals: Option<Utf8PathBuf>,
    /// Whose its unfinished files are.
    pub mark: Mark,
    /// SHA-256 of files that the step reads, as far as they are known.
    pub digests: BTreeMap<Utf8PathBuf, String>,
}

impl<'a> Context<'a> {
    /// With `threads` threads, at least one; without journals and known digests.
    pub fn new(events: &'a dyn EventSink, cancelled: &'a AtomicBool, threads: usize) -> Self {
        let threads = threads.max(1);
        let (journals, mark, digests) = (None, Mark::default(), BTreeMap::new());
        Self { events, cancelled, threads, journals, mark, digests }
    }

    /// The same, with events going to `events`.
    pub fn with_events<'b>(&'b self, events: &'b dyn EventSink) -> Context<'b> {
        Context { events, ..self.clone() }
    }

    /// The same, with journals in `directory`.
    pub fn with_journals(&self, directory: Utf8PathBuf) -> Context<'_> {
        Context { journals: Some(directory), ..self.clone() }
    }

    /// Fails with [`super::ErrorClass::Interrupted`] once the step should stop.
    pub fn check_cancelled(&self) -> Result<(), StepError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(StepError::interrupted());
        }
        Ok(())
    }

    /// Hands the file at `path` to `take`, piece by piece.
    ///
    /// # Errors
    /// [`super::ErrorClass::Input`] if it cannot be read; [`super::ErrorClass::Interrupted`]; those
    /// of `take`.
    pub fn read(
        &self,
        path: &Utf8Path,
        mut take: impl FnMut(&[u8]) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let unreadable = |e| StepError::unreadable(path, &e);
        let mut file = open_regular(path).map_err(unreadable)?;
        let mut buffer = vec![0; PIECE];
        loop {
            self.check_cancelled()?;
            match file.read(&mut buffer).map_err(unreadable)? {
                0 => return Ok(()),
                n => take(&buffer[..n])?,
            }
        }
    }

    /// Reports progress.
    pub fn progress(&self, done: u64, total: u64, unit: Unit) {
        self.events.emit(Event::Progress { done, total, unit });
    }

    /// Says what the step does until the next of these, where it is not its work proper: progress
    /// tells of that meanwhile.
    pub fn stage(&self, doing: Option<String>) {
        self.events.emit(Event::Stage { doing });
    }

    /// Writes a line to the step's log.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.events.emit(Event::Log { level, message: message.into() });
    }
}

/// `time` in UTC, to the second, as RFC 3339 has it.
pub fn rfc3339(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `path` as it is typed in the working directory, which is the workspace: without it in front, if
/// it lies inside. What is written for people or for other machines names files so.
///
/// # Errors
/// [`super::ErrorClass::Host`] if the working directory is gone.
pub fn from_here(path: &Utf8Path) -> Result<&Utf8Path, StepError> {
    let here = std::env::current_dir()
        .map_err(|e| StepError::host(format!("cannot find the working directory: {e}")))?;
    let inside = path.as_std_path().strip_prefix(&here).ok().and_then(Utf8Path::from_path);
    Ok(inside.unwrap_or(path))
}
