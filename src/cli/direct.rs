//! Steps run in this process, for the commands that work on a file at hand.

use std::num::NonZeroUsize;

use super::progress::Progress;
use super::{CliError, Globals, interrupt};
use crate::steps::{Context, StepError};

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
    let context = Context {
        events: &progress,
        cancelled: &cancelled,
        threads: threads.count(),
        journals: None,
    };
    let result = work(&context);
    progress.finish();
    Ok(result?)
}
