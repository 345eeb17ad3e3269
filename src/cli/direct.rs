//! Steps run in this process, for the commands that work on a file at hand.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;

use super::progress::Progress;
use super::{CliError, Globals, interrupt};
use crate::files::open_regular;
use crate::gguf::{File, TensorSource};
use crate::steps::{Context, ErrorClass, Event, EventSink, StepError};

/// `--threads`, for every command that computes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Threads {
    /// Threads for heavy work, 1 to 1024 [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Threads {
    /// The number asked for, or all that this process may use.
    pub fn count(self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.map_or_else(all, usize::from)
    }
}

/// Runs `work` with progress under `label` on standard error, and with Ctrl-C as its cancellation.
///
/// # Errors
/// The step's own.
pub fn run_step<T>(
    globals: &Globals,
    threads: Threads,
    label: &str,
    work: impl FnOnce(&Context<'_>) -> Result<T, StepError>,
) -> Result<T, CliError> {
    let cancelled = interrupt::flag();
    let progress = Progress::new(label, globals);
    let result = work(&Context::new(&progress, &cancelled, threads.count()));
    progress.finish();
    Ok(result?)
}

/// Makes one line of progress of that of several steps that are done together: what each has done is
/// added up.
pub struct Together<'a> {
    events: &'a dyn EventSink,
    /// Of each step, what is done and what is to do.
    steps: Mutex<Vec<(u64, u64)>>,
}

/// What one of the steps says.
pub struct OneOf<'a> {
    of: &'a Together<'a>,
    number: usize,
}

impl<'a> Together<'a> {
    /// Of `count` steps that are told to `events`.
    pub fn new(events: &'a dyn EventSink, count: usize) -> Self {
        Self { events, steps: Mutex::new(vec![(0, 0); count]) }
    }

    /// The steps' own.
    pub fn sinks(&'a self) -> Vec<OneOf<'a>> {
        let count = self.steps.lock().unwrap_or_else(PoisonError::into_inner).len();
        (0..count).map(|number| OneOf { of: self, number }).collect()
    }
}

impl EventSink for OneOf<'_> {
    fn emit(&self, mut event: Event) {
        if let Event::Progress { done, total, .. } = &mut event {
            let mut steps = self.of.steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps[self.number] = (*done, *total);
            *done = steps.iter().map(|(done, _)| done).sum();
            *total = steps.iter().map(|(_, total)| total).sum();
        }
        self.of.events.emit(event);
    }
}

/// Looks at every input before the first is worked on: `models` whole as far as their headers, and
/// with room for a text of `tokens` tokens, `texts` for being there.
///
/// # Errors
/// With all that is wrong: [`ErrorClass::Input`], or [`ErrorClass::Usage`] if all are there and the
/// text is too long for one.
pub fn look_at<'p>(
    models: impl IntoIterator<Item = &'p Utf8Path>,
    tokens: u64,
    texts: impl IntoIterator<Item = &'p Utf8Path>,
) -> Result<(), CliError> {
    let (mut unfit, mut too_long) = (Vec::new(), Vec::new());
    for path in models {
        match File::open(path) {
            Err(e) => unfit.push(StepError::from_error(ErrorClass::Input, &e).message),
            Ok(file) => {
                let limit = file.metadata().context_length();
                if let Some(limit) = limit.filter(|limit| tokens > *limit) {
                    too_long.push(format!(
                        "{path} reads texts of at most {limit} tokens, and {tokens} are asked for; \
                        ask for fewer"
                    ));
                }
            }
        }
    }
    for path in texts {
        if let Err(e) = open_regular(path) {
            unfit.push(format!("cannot read {path}: {e}"));
        }
    }
    match (unfit.is_empty(), too_long.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(CliError::usage(too_long.join("\n"))),
        _ => Err(CliError::input([unfit, too_long].concat().join("\n"))),
    }
}
