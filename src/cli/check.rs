//! `qrun check`: whether a file is whole, loads and computes.

use std::process::ExitCode;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::direct::{Threads, run_step};
use super::{CliError, Globals, output};
use crate::exec::run_one;
use crate::steps::{ErrorClass, LoadCheckResult, LoadCheckSpec, TimeLimit};

/// Check that a GGUF file is whole, loads and computes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF file
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    /// How long it may take, for example 90s or 2m
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time_limit)]
    timeout: Duration,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command: the check in a process of its own, which may crash or hang.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let limit = TimeLimit { after: args.timeout, setting: "--timeout".to_owned() };
    let spec = LoadCheckSpec { gguf: (&args.file).into(), limit: Some(limit).into() };
    let value = run_step(globals, args.threads, &format!("check {}", args.file), |ctx| {
        run_one(spec.into(), ctx.threads, ctx.cancelled, ctx.events)
    })?;
    if args.json {
        // With the warnings, which are no part of the type.
        return output::print_dated_json(&value);
    }
    let result: LoadCheckResult =
        serde_json::from_value(value).map_err(|e| CliError::from_error(ErrorClass::Step, &e))?;
    output::tell(&format!(
        "{}: {}, {} tensors, loads in {:.1} ms and computes",
        args.file, result.architecture, result.tensors, result.load_ms
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn time_limit(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => {
            Err("nothing can be checked in no time; expected more than 0s".into())
        }
        Ok(limit) => Ok(limit),
        Err(e) => Err(format!("{e}; expected a time such as 90s or 2m")),
    }
}
