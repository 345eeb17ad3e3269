//! `qrun plan`: what would run, why, how large. Changes nothing.

use std::process::ExitCode;

use camino::Utf8PathBuf;

use super::direct::Threads;
use super::{CliError, job, output};
use crate::plan::admit;
use crate::plan::render::{self, View};

/// Show what would run, why, and what it needs; changes nothing
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The exit code is the one with which `run` would refuse: 0 if it would not, 2 if the \
                  manifest asks for what cannot be, 3 if an input is missing or not what it has to \
                  be, 4 if this host cannot do it."
)]
pub struct Args {
    /// The job's manifest
    #[arg(value_name = "JOB.toml")]
    manifest: Utf8PathBuf,
    /// Print JSON
    #[arg(long, group = "form")]
    json: bool,
    /// Print the graph for Graphviz
    #[arg(long, group = "form")]
    dot: bool,
    /// Print the graph for Mermaid
    #[arg(long, group = "form")]
    mermaid: bool,
    /// Plan as `run --accept-inputs` would run, and show what it would take into the job's lock
    #[arg(long)]
    accept_inputs: bool,
    #[command(flatten)]
    threads: Threads,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let job = job::load(&args.manifest)?;
    let mut plan = job::plan(job, None, args.threads)?;
    if args.accept_inputs {
        plan.accept_inputs();
    }
    let judgements = plan.judge_all()?;
    let mut demand = plan.demand(&judgements)?;
    plan.estimate(&judgements, &mut demand)?;
    let view = View::new(&plan, &judgements, demand)?;
    let exit = if view.to_run > 0 { admit(&judgements, &view.demand) } else { Ok(()) };
    let exit = exit.map_or_else(|refused| refused.class.exit_code(), |()| 0);
    if args.json {
        output::print_json(&view)?;
        return Ok(exit.into());
    }
    let text = match (args.dot, args.mermaid) {
        (true, _) => render::dot(&view),
        (_, true) => render::mermaid(&view),
        _ => render::text(&view),
    };
    output::tell(&text)?;
    Ok(exit.into())
}
