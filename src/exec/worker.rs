//! The worker's side of the pipe: do one order, tell what happens, deliver what succeeds.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guard::Guard;
use super::order::{Said, Task};
use super::{WorkOrder, os};
use crate::host::rss::Memory;
use crate::steps::{self, Context, ErrorClass, Event, EventSink, StepError, StepSpec};

/// Does the order that `input` holds, writes events to `output` and returns the exit code.
/// `cancelled` is set from outside when the steps should stop; the process `parent`, if one is given,
/// is not outlived.
pub fn serve(
    input: impl Read,
    output: impl Write + Send,
    parent: Option<u32>,
    cancelled: &AtomicBool,
) -> u8 {
    let pipe = Pipe::new(output, cancelled);
    let tied = parent.map_or(Ok(()), die_with);
    let done = match tied.and_then(|()| read_order(input)) {
        Ok(order) => {
            let sinks: Vec<_> = (0..order.tasks.len()).map(|task| pipe.of(task)).collect();
            let sinks: Vec<_> = sinks.iter().map(|sink| sink as &dyn EventSink).collect();
            perform(&order, cancelled, &sinks, steps::run_all)
        }
        Err(error) => vec![Err(error)],
    };
    let mut code = 0;
    for (task, result) in done.into_iter().enumerate() {
        let events = pipe.of(task);
        if let Some(memory) = Memory::now() {
            let value = memory.peak_rss as f64 / 1e6;
            events.emit(Event::Metric { name: "peak_rss_mb".into(), value });
        }
        match result {
            Ok(value) => events.emit(Event::Result { value }),
            Err(StepError { class, message }) => {
                code = if code == 0 { class.exit_code() } else { code };
                events.emit(Event::Failed { class, message });
            }
        }
    }
    code
}

/// Does `order` in this process with `work` as the steps' code, and delivers what succeeds; answers
/// for each task with its result or why there is none: the step's own failure, or what keeps its
/// success from being delivered. `events` are the tasks'.
pub fn perform(
    order: &WorkOrder,
    cancelled: &AtomicBool,
    events: &[&dyn EventSink],
    work: impl FnOnce(&[(&StepSpec, &Context<'_>)]) -> Vec<Result<Value, StepError>>,
) -> Vec<Result<Value, StepError>> {
    let begin = |(task, events)| Begun::new(task, events, cancelled, order.threads);
    let begun: Vec<_> = order.tasks.iter().zip(events.iter().copied()).map(begin).collect();
    let to_do = || begun.iter().filter_map(|begun| Some((begun.to_do()?, &begun.context)));
    let mut results = work(&to_do().collect::<Vec<_>>()).into_iter();
    let shared_by = to_do().count();
    let end = |begun: Begun<'_>| match begun.state {
        Ok(Ready::Delivered(result)) => Ok(result),
        Err(error) => Err(error),
        Ok(Ready::ToDo(guard)) => {
            let lost = || StepError::new(ErrorClass::Step, "a step has no result: a bug in qrun");
            let result = results.next().ok_or_else(lost).flatten();
            match (guard, result) {
                (None, result) => result,
                (Some(guard), Ok(result)) => guard.deliver(result, shared_by),
                (Some(guard), Err(error)) => Err(guard.abandon(error)),
            }
        }
    };
    begun.into_iter().map(end).collect()
}

/// A task that was looked at.
struct Begun<'a> {
    spec: &'a StepSpec,
    context: Context<'a>,
    state: Result<Ready<'a>, StepError>,
}

/// What is known of a task before it is done.
enum Ready<'a> {
    /// A worker that outlived its runner has done it.
    Delivered(Value),
    /// It is to be done; behind its guard if it is a job's.
    ToDo(Option<Box<Guard<'a>>>),
}

impl<'a> Begun<'a> {
    fn new(
        task: &'a Task,
        events: &'a dyn EventSink,
        cancelled: &'a AtomicBool,
        threads: usize,
    ) -> Self {
        let mut context = Context::new(events, cancelled, threads);
        let state = match &task.record {
            None => Ok(Ready::ToDo(None)),
            Some(record) => {
                let claims = record.reads.iter();
                let known = claims.filter_map(|c| Some((c.path.clone(), c.sha256.clone()?)));
                context.digests = known.collect();
                context.mark = record.mark.clone();
                Guard::open(record, &task.spec, events).and_then(|guard| {
                    if let Some(result) = guard.delivered()? {
                        return Ok(Ready::Delivered(result));
                    }
                    context.journals = Some(guard.journals());
                    Ok(Ready::ToDo(Some(Box::new(guard.prepare()?))))
                })
            }
        };
        Self { spec: &task.spec, context, state }
    }

    /// The step as it is to be done, if it is.
    fn to_do(&self) -> Option<&StepSpec> {
        let Ok(Ready::ToDo(guard)) = &self.state else { return None };
        Some(guard.as_ref().map_or(self.spec, |guard| guard.spec()))
    }
}

fn read_order(mut input: impl Read) -> Result<WorkOrder, StepError> {
    let mut json = Vec::new();
    let usage = |message| StepError::new(ErrorClass::Usage, message);
    input.read_to_end(&mut json).map_err(|e| usage(format!("cannot read the order: {e}")))?;
    serde_json::from_slice(&json)
        .map_err(|e| usage(format!("expected an order as JSON on standard input: {e}")))
}

/// Makes the kernel kill this process when the process `parent` ends.
fn die_with(parent: u32) -> Result<(), StepError> {
    let host = |message| StepError::new(ErrorClass::Host, message);
    let alive = os::die_with(parent)
        .map_err(|e| host(format!("cannot tie this process to its parent: {e}")))?;
    if !alive {
        return Err(host(format!("process {parent}, which started this step, is gone")));
    }
    Ok(())
}

/// Shortest pause between two progress events.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Writes events as JSON lines.
struct Pipe<'a, W> {
    /// The output, and when each task last told of progress.
    inner: Mutex<(W, BTreeMap<usize, Instant>)>,
    /// Set when nobody listens any more.
    cancelled: &'a AtomicBool,
}

impl<'a, W: Write> Pipe<'a, W> {
    fn new(output: W, cancelled: &'a AtomicBool) -> Self {
        Self { inner: Mutex::new((output, BTreeMap::new())), cancelled }
    }

    /// What the task of this number says.
    fn of(&self, task: usize) -> OfTask<'_, 'a, W> {
        OfTask { pipe: self, task }
    }
}

struct OfTask<'p, 'a, W> {
    pipe: &'p Pipe<'a, W>,
    task: usize,
}

impl<W: Write + Send> EventSink for OfTask<'_, '_, W> {
    fn emit(&self, event: Event) {
        let Ok(mut inner) = self.pipe.inner.lock() else { return };
        let (output, last) = &mut *inner;
        if let Event::Progress { done, total, .. } = event {
            let now = Instant::now();
            let soon = |last: &Instant| now.duration_since(*last) < PROGRESS_INTERVAL;
            if last.get(&self.task).is_some_and(soon) && done != total {
                return;
            }
            last.insert(self.task, now);
        }
        let Ok(mut line) = serde_json::to_vec(&Said { task: self.task, event }) else { return };
        line.push(b'\n');
        if output.write_all(&line).and_then(|()| output.flush()).is_err() {
            self.pipe.cancelled.store(true, Ordering::Relaxed);
        }
    }
}
