//! The worker's side of the pipe: do one order, tell what happens, deliver the success.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::guard::Guard;
use super::{WorkOrder, os};
use crate::metrics::rss::Memory;
use crate::steps::{self, Context, ErrorClass, Event, EventSink, StepError, StepSpec};

/// Does the order that `input` holds, writes events to `output` and returns the exit code.
/// `cancelled` is set from outside when the step should stop; the process `parent`, if one is given,
/// is not outlived.
pub fn serve(
    input: impl Read,
    output: impl Write + Send,
    parent: Option<u32>,
    cancelled: &AtomicBool,
) -> u8 {
    let events = Pipe::new(output, cancelled);
    let tied = parent.map_or(Ok(()), die_with);
    let done = tied
        .and_then(|()| read_order(input))
        .and_then(|order| perform(&order, cancelled, &events, steps::run));
    if let Some(memory) = Memory::now() {
        let value = memory.peak_rss as f64 / 1e6;
        events.emit(Event::Metric { name: "peak_rss_mb".into(), value });
    }
    match done {
        Ok(value) => {
            events.emit(Event::Result { value });
            0
        }
        Err(error) => {
            events.emit(Event::Failed { class: error.class, message: error.message });
            error.class.exit_code()
        }
    }
}

/// Does `order` in this process with `work` as the step's code, and delivers its success.
///
/// # Errors
/// The step's own, or what keeps its success from being delivered.
pub fn perform(
    order: &WorkOrder,
    cancelled: &AtomicBool,
    events: &dyn EventSink,
    work: impl FnOnce(&StepSpec, &Context<'_>) -> Result<Value, StepError>,
) -> Result<Value, StepError> {
    let mut context = Context { events, cancelled, threads: order.threads.max(1), journals: None };
    let Some(record) = &order.record else { return work(&order.spec, &context) };
    let guard = Guard::open(record, &order.spec, events)?;
    if let Some(result) = guard.delivered()? {
        return Ok(result);
    }
    context.journals = Some(guard.journals());
    let guard = guard.prepare()?;
    match work(guard.spec(), &context) {
        Ok(result) => guard.deliver(result),
        Err(error) => Err(guard.abandon(error)),
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
    inner: Mutex<(W, Option<Instant>)>,
    /// Set when nobody listens any more.
    cancelled: &'a AtomicBool,
}

impl<'a, W: Write> Pipe<'a, W> {
    fn new(output: W, cancelled: &'a AtomicBool) -> Self {
        Self { inner: Mutex::new((output, None)), cancelled }
    }
}

impl<W: Write + Send> EventSink for Pipe<'_, W> {
    fn emit(&self, event: Event) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let (output, last) = &mut *inner;
        if let Event::Progress { done, total, .. } = event {
            let now = Instant::now();
            let soon = last.is_some_and(|last| now.duration_since(last) < PROGRESS_INTERVAL);
            if soon && done != total {
                return;
            }
            *last = Some(now);
        }
        let Ok(mut line) = serde_json::to_vec(&event) else { return };
        line.push(b'\n');
        if output.write_all(&line).and_then(|()| output.flush()).is_err() {
            self.cancelled.store(true, Ordering::Relaxed);
        }
    }
}
