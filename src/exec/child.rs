//! The runner's side of a worker process: start it, read its events, end it in time.

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::Utf8Path;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::order::Said;
use super::os::{self, Group};
use super::{WorkOrder, death};
use crate::files::program;
use crate::steps::{ErrorClass, Event, EventSink, Level, StepError, TimeLimit};

/// How long a worker that was told to stop may take to reach a safe point.
const GRACE: Duration = Duration::from_secs(10);

/// How often the request to stop is looked for.
const POLL: Duration = Duration::from_millis(50);

/// The program that works: this one, unless a test says otherwise.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: OsString,
    pub arguments: Vec<OsString>,
}

impl Program {
    /// This very program. On Linux by its open file rather than its name, so that a rebuild or an
    /// update while a job runs does not mix two versions.
    pub fn this() -> Result<Self, StepError> {
        let path = program::itself().map_err(|e| {
            StepError::new(ErrorClass::Host, format!("cannot find the program itself: {e}"))
        })?;
        Ok(Self {
            path: path.into(),
            arguments: vec![
                "exec-step".into(),
                "--die-with".into(),
                std::process::id().to_string().into(),
            ],
        })
    }
}

/// What a worker's success leaves with the runner.
#[derive(Clone, Debug, PartialEq)]
pub struct Success {
    pub result: Value,
    /// Of the worker process.
    pub peak_rss_bytes: Option<u64>,
}

/// Does `order` in a process of its own and passes what it says of each task on to that one's
/// `events`; answers with the result or the failure of each.
///
/// The worker's standard error goes to `log`. When `cancelled` is set the worker is asked to stop
/// (SIGTERM), and killed if it has not after a grace period; when the order's limit passes it is
/// killed.
///
/// # Errors
/// In words how the process died, if it did before it had answered for every task.
pub async fn run(
    program: &Program,
    order: &WorkOrder,
    log: Option<std::fs::File>,
    cancelled: &AtomicBool,
    events: &[&dyn EventSink],
) -> Result<Vec<Result<Success, StepError>>, StepError> {
    if let Err(e) = os::pause_together() {
        tracing::warn!(error = %e, "Ctrl-Z will stop qrun and not its step");
    }
    let mut child = start(program, log, order.workspace())?;
    let json = serde_json::to_vec(order).map_err(|e| {
        StepError::new(ErrorClass::Step, format!("cannot write the order as JSON: {e}"))
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A worker that died before it read everything is found out by its exit status.
        let _ = stdin.write_all(&json).await;
    }
    let mut watch = Watch::new(&child, order.limit());
    let mut told = Told { of: events.iter().map(|_| OfTask::default()).collect() };
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).split(b'\n');
        loop {
            tokio::select! {
                line = lines.next_segment() => match line {
                    Ok(Some(line)) => told.hear(&line, events),
                    Ok(None) | Err(_) => break,
                },
                () = watch.tick(cancelled) => {}
            }
        }
    }
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = watch.tick(cancelled) => {}
        }
    };
    let status = status.map_err(|e| {
        StepError::new(ErrorClass::Host, format!("cannot wait for the worker process: {e}"))
    })?;
    let ends: Option<Vec<_>> = told.of.into_iter().map(OfTask::end).collect();
    ends.ok_or_else(|| watch.why_ended().unwrap_or_else(|| death::describe(status)))
}

/// Starts a worker, in the job's workspace if it has a job.
fn start(
    program: &Program,
    log: Option<std::fs::File>,
    workspace: Option<&Utf8Path>,
) -> Result<Child, StepError> {
    let name = program.path.to_string_lossy();
    let mut command = Command::new(&program.path);
    if let Some(workspace) = workspace {
        command.current_dir(workspace);
    }
    os::lead_group(&mut command, "qrun")
        .args(&program.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.map_or_else(Stdio::inherit, Stdio::from))
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| {
            StepError::new(ErrorClass::Host, format!("cannot start a worker process ({name}): {e}"))
        })
}

/// What a worker has said so far, by task.
struct Told {
    of: Vec<OfTask>,
}

/// What a worker has said of a task.
#[derive(Default)]
struct OfTask {
    end: Option<Result<Value, StepError>>,
    peak_rss_bytes: Option<u64>,
}

impl OfTask {
    /// What came of it, if that was said.
    fn end(self) -> Option<Result<Success, StepError>> {
        let peak_rss_bytes = self.peak_rss_bytes;
        Some(self.end?.map(|result| Success { result, peak_rss_bytes }))
    }
}

impl Told {
    fn hear(&mut self, line: &[u8], events: &[&dyn EventSink]) {
        if line.is_empty() {
            return;
        }
        let said = serde_json::from_slice::<Said>(line).ok().filter(|s| s.task < self.of.len());
        let Said { task, event } = said.unwrap_or_else(|| Said {
            task: 0,
            event: Event::Log {
                level: Level::Warn,
                message: format!("not an event: {}", String::from_utf8_lossy(line)),
            },
        });
        let (Some(of), Some(events)) = (self.of.get_mut(task), events.get(task)) else { return };
        match &event {
            Event::Metric { name, value } if name == "peak_rss_mb" => {
                of.peak_rss_bytes = Some((value * 1e6) as u64);
            }
            Event::Result { value } => of.end = Some(Ok(value.clone())),
            Event::Failed { class, message } => {
                of.end = Some(Err(StepError::new(*class, message.clone())));
            }
            Event::Metric { .. }
            | Event::Progress { .. }
            | Event::Stage { .. }
            | Event::Log { .. } => {}
        }
        events.emit(event);
    }
}

/// Ends a worker that is to stop or has taken too long.
struct Watch {
    group: Option<Group>,
    ticks: tokio::time::Interval,
    deadline: Option<(Instant, TimeLimit)>,
    /// When a worker that was told to stop is killed.
    kill_at: Option<Instant>,
    why: Option<StepError>,
}

impl Watch {
    fn new(child: &Child, limit: Option<&TimeLimit>) -> Self {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            group: Group::of(child),
            ticks,
            // What lies beyond the clock's end never comes.
            deadline: limit
                .and_then(|limit| Some((Instant::now().checked_add(limit.after)?, limit.clone()))),
            kill_at: None,
            why: None,
        }
    }

    /// Waits a moment, then does what is due.
    async fn tick(&mut self, cancelled: &AtomicBool) {
        let due = self.deadline.as_ref().map(|(at, _)| *at);
        tokio::select! {
            _ = self.ticks.tick() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        let now = Instant::now();
        if let Some((_, limit)) = self.deadline.take_if(|(at, _)| *at <= now) {
            self.why = Some(StepError::new(
                ErrorClass::Step,
                format!(
                    "did not finish within {} and was killed; raise {} if the machine is just slow",
                    humantime::format_duration(limit.after),
                    limit.setting
                ),
            ));
            if let Some(group) = &self.group {
                group.kill();
            }
        }
        if self.kill_at.is_none() && cancelled.load(Ordering::Relaxed) {
            self.kill_at = Some(now + GRACE);
            self.why.get_or_insert_with(StepError::interrupted);
            if let Some(group) = &self.group {
                group.terminate();
            }
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = Some(now + GRACE);
            if let Some(group) = &self.group {
                group.kill();
            }
        }
    }

    fn why_ended(self) -> Option<StepError> {
        self.why
    }
}
