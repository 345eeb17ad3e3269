//! `qrun log`: the last log of a step.

use std::process::ExitCode;

use camino::Utf8PathBuf;

use super::{CliError, job, output};
use crate::words::hint;

/// Print the last log of a step
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The step, as `qrun status` names it
    step: String,
    /// The job's manifest [default: any job of the workspace that this directory is in]
    #[arg(value_name = "JOB.toml")]
    manifest: Option<Utf8PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let (state, job) = job::look_back(args.manifest.as_deref())?;
    let owner = job.as_ref().map(job::owner);
    let Some(path) = state.last_log(owner, &args.step)? else {
        let steps = state.logged_steps(owner)?;
        let hint = hint(&args.step, steps.iter().map(String::as_str));
        return Err(CliError::usage(format!(
            "no step called `{}` has a log here{hint}; those that have are {}",
            args.step,
            steps.join(", ")
        )));
    };
    let text = std::fs::read(&path)
        .map_err(|e| CliError::input(format!("cannot read the log {path}: {e}")))?;
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
