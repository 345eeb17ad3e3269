//! `qrun exec-step`: the worker's end of the pipe. Not for people.

use std::process::ExitCode;

use super::interrupt;
use crate::exec::worker;

/// Runs the command: one order as JSON on standard input, events as JSON lines on standard output.
pub fn run() -> ExitCode {
    let cancelled = interrupt::flag();
    ExitCode::from(worker::serve(std::io::stdin().lock(), std::io::stdout(), &cancelled))
}
