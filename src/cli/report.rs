//! `qrun report`: the last report of a job.

use std::process::ExitCode;

use camino::Utf8PathBuf;

use super::{CliError, job, output};
use crate::state::Owner;

/// Print the last report of a job
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's manifest [default: the last job of the workspace that this directory is in]
    #[arg(value_name = "JOB.toml")]
    manifest: Option<Utf8PathBuf>,
    /// Print JSON: what the report step found and wrote
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let (state, job) = job::look_back(args.manifest.as_deref())?;
    let owner = match job {
        Some(job) => Some((job.name, job.manifest)),
        None => state.last_run(None)?.map(|run| (run.job, run.manifest)),
    };
    let action = match &owner {
        Some((job, manifest)) => state.last_action(Owner { job, manifest }, "report")?,
        None => None,
    };
    let Some(action) = action else {
        return Err(CliError::input(format!(
            "{} has no report yet; run it first",
            owner.as_ref().map_or("this workspace", |(job, _)| job)
        )));
    };
    if args.json {
        return output::print_json(&action.result);
    }
    let Some(report) = action.outputs.first() else {
        return Err(CliError::input("the last report wrote no file; run the job again".to_owned()));
    };
    let text = std::fs::read_to_string(&report.path).map_err(|e| {
        CliError::input(format!("cannot read {}: {e}; run the job again", report.path))
    })?;
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
