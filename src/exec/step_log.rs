//! The log of one step: what its worker says, and what its worker writes to standard error.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::sync::mpsc::UnboundedSender;

use crate::steps::{ErrorClass, Event, EventSink, Level, StepError};

/// A log file, open for appending.
pub struct StepLog {
    pub path: Utf8PathBuf,
    file: File,
}

impl StepLog {
    /// Starts the log of the step with number `number` and name `step` in `directory`.
    pub fn create(directory: &Utf8Path, number: usize, step: &str) -> Result<Self, StepError> {
        let plain: String = step
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '.' })
            .collect();
        let path = directory.join(format!("{number:02}-{plain}.log"));
        let open = || {
            std::fs::create_dir_all(directory)?;
            // Two writers share it, so that both have to append.
            File::options().append(true).create(true).open(&path)
        };
        let file = open().map_err(|e| {
            StepError::new(ErrorClass::Host, format!("cannot write the log {path}: {e}"))
        })?;
        Ok(Self { path, file })
    }

    /// Another handle, for the worker's standard error.
    pub fn handle(&self) -> Option<File> {
        self.file.try_clone().ok()
    }

    /// Appends one line with the time. A log that cannot be written must not end the step.
    pub fn line(&mut self, text: &str) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let _ = writeln!(self.file, "{now} {text}");
    }
}

/// Writes a step's events to its log and hands them on to the scheduler.
pub struct Tee {
    pub step: usize,
    pub log: Mutex<StepLog>,
    pub to: UnboundedSender<(usize, Event)>,
}

impl EventSink for Tee {
    fn emit(&self, event: Event) {
        let line = match &event {
            Event::Log { level, message } => {
                let level = match level {
                    Level::Debug => "debug",
                    Level::Info => "info ",
                    Level::Warn => "warn ",
                    Level::Error => "error",
                };
                Some(format!("{level} {message}"))
            }
            Event::Stage { doing } => doing.as_ref().map(|doing| format!("info  {doing}")),
            Event::Metric { name, value } => Some(format!("info  {name} = {value}")),
            Event::Progress { .. } | Event::Result { .. } | Event::Failed { .. } => None,
        };
        if let (Some(line), Ok(mut log)) = (line, self.log.lock()) {
            log.line(&line);
        }
        // The scheduler outlives its steps.
        let _ = self.to.send((self.step, event));
    }
}
