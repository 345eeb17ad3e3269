//! `qrun exec-step`: the worker's end of the pipe. Not for people.

use std::process::ExitCode;

use super::interrupt;
use crate::exec::worker;

/// Do one step
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when this process ends, which has to be the one that started this
    #[arg(long, value_name = "PID")]
    die_with: Option<u32>,
}

/// Runs the command: one order as JSON on standard input, events as JSON lines on standard output.
pub fn run(args: &Args) -> ExitCode {
    let cancelled = interrupt::flag();
    let (input, output) = (std::io::stdin().lock(), std::io::stdout());
    ExitCode::from(worker::serve(input, output, args.die_with, &cancelled))
}
