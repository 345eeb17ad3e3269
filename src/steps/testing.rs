//! What tests of steps need: a context whose events go nowhere, or are kept.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::{Context, Event, EventSink};

/// Never set.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Keeps the events it is given.
pub struct Recorder {
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    pub fn new() -> Self {
        Self { events: Mutex::new(Vec::new()) }
    }

    /// The log lines so far.
    pub fn log_lines(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let message = |e: &Event| match e {
            Event::Log { message, .. } => Some(message.clone()),
            _ => None,
        };
        events.iter().filter_map(message).collect()
    }
}

impl EventSink for Recorder {
    fn emit(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

/// A context of two threads without journals.
pub fn context(events: &Recorder) -> Context<'_> {
    Context::new(events, &RUNNING, 2)
}
