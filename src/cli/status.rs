//! `qrun status`: what the last run did.

use std::process::ExitCode;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::{CliError, job, output};
use crate::plan::render::{duration, size};
use crate::state::{Outcome, Run, Status};

/// Show what became of each step in the last run
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job's manifest [default: the last job of the workspace that this directory is in]
    #[arg(value_name = "JOB.toml")]
    manifest: Option<Utf8PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    run: Run,
    /// It neither ended nor goes on.
    killed: bool,
    steps: Vec<Outcome>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let (state, job) = job::look_back(args.manifest.as_deref())?;
    let Some(run) = state.last_run(job.as_ref().map(job::owner))? else {
        let job = job.map_or("no job has".to_owned(), |job| format!("{} has not", job.name));
        return Err(CliError::input(format!("{job} run yet in this workspace")));
    };
    let steps = state.outcomes(run.id)?;
    let killed = run.outcome.is_none() && !state.is_busy();
    let view = View { run, killed, steps };
    if args.json {
        return output::print_json(&view);
    }
    output::tell(&describe(&view))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(view: &View) -> String {
    let run = &view.run;
    let outcome = match run.outcome {
        Some(outcome) => outcome.word(),
        None if view.killed => "killed",
        None => "running",
    };
    let mut lines = vec![format!(
        "{}: run {} of {}, {outcome}\n{}\n",
        run.job,
        run.id,
        time(run.started_ms),
        run.command
    )];
    let width = view.steps.iter().map(|s| s.step.chars().count()).max().unwrap_or(0);
    for step in &view.steps {
        let word = match step.status {
            Status::Running if view.killed => "killed",
            status => status.word(),
        };
        let mut line = format!("{:width$}  {word:11}", step.step);
        if let Some(ms) = step.duration_ms {
            line.push_str(&format!("  {:>8}", duration(ms)));
        }
        if let Some(rss) = step.peak_rss_bytes.and_then(|b| u64::try_from(b).ok()) {
            line.push_str(&format!("  peak RSS {}", size(rss)));
        }
        if let Some(message) = &step.message {
            line.push_str(&format!("  {}", message.replace('\n', "\n    ")));
        }
        lines.push(line.trim_end().to_owned());
    }
    if view.steps.iter().any(|s| s.status == Status::Failed) {
        lines.push("\n`qrun log STEP` shows the log of a step".to_owned());
    }
    lines.join("\n")
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(
        |_| "an unknown time".to_owned(),
        |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}
