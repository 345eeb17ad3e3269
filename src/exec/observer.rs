//! What a run tells to whoever shows it.

use camino::Utf8PathBuf;

use crate::state::Status;
use crate::steps::{ErrorClass, Event};

/// Hears of a run as it goes; called on one thread, in order.
pub trait RunObserver {
    /// A step starts.
    fn started(&self, step: &str);
    /// A running step says something.
    fn event(&self, step: &str, event: &Event);
    /// Nothing more will come of this step in this run: it ended, was fresh, or is skipped.
    fn ended(&self, step: &StepReport);
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    pub step: String,
    pub status: Status,
    /// Why it failed or was skipped.
    pub message: Option<String>,
    /// Of a failure.
    pub class: Option<ErrorClass>,
    pub duration_ms: Option<i64>,
    pub peak_rss_bytes: Option<u64>,
    /// The files it wrote.
    pub outputs: Vec<Utf8PathBuf>,
    /// Bytes that it wrote: not those of files that it found there.
    pub written_bytes: u64,
    /// What else is to be said of its success, in a few words.
    pub remark: Option<String>,
    pub log: Option<Utf8PathBuf>,
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// In the plan's order, steps left out by `--only` excepted.
    pub steps: Vec<StepReport>,
}

impl Summary {
    /// How many steps ended as `status`.
    pub fn count(&self, status: Status) -> usize {
        self.steps.iter().filter(|s| s.status == status).count()
    }

    /// The class of the run's failure: an interrupt, or the first step that failed.
    pub fn failure(&self) -> Option<ErrorClass> {
        if self.count(Status::Interrupted) > 0 {
            return Some(ErrorClass::Interrupted);
        }
        self.steps.iter().find_map(|s| s.class)
    }
}
