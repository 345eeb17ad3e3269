//! Steps run in this process, for the commands that work on a file at hand.

use std::num::NonZeroUsize;

use camino::Utf8Path;

use super::progress::Progress;
use super::{CliError, Globals, interrupt};
use crate::files::open_regular;
use crate::gguf::{File, TensorSource};
use crate::steps::{Context, ErrorClass, StepError};

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
        _ => Err(CliError::new(ErrorClass::Input, [unfit, too_long].concat().join("\n"))),
    }
}
