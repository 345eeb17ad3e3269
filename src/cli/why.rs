//! `qrun why`: what a step's key is made of, and what of it is not as it was.

use std::process::ExitCode;

use camino::Utf8PathBuf;
use comfy_table::{Table, presets};

use super::direct::Threads;
use super::{CliError, job, output};
use crate::plan::{Compared, Verdict, Why, short};
use crate::steps::ErrorClass;

/// Show what goes into a step, now and at its last success
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The step, as `qrun plan` names it, or the start of its name up to a colon
    step: String,
    /// The job's manifest [default: that of the last run in the workspace that this directory is in]
    #[arg(value_name = "JOB.toml")]
    manifest: Option<Utf8PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let manifest = match &args.manifest {
        Some(manifest) => manifest.clone(),
        None => last_manifest()?,
    };
    let mut plan = job::plan(job::load(&manifest)?, None, args.threads)?;
    let judgements = plan.judge_all()?;
    let mut all = Vec::new();
    for step in plan.steps_named(&args.step)? {
        all.push(plan.why(step, &judgements[step])?);
    }
    if args.json {
        output::print_one_or_all(&all)?;
    } else {
        output::tell(&all.iter().map(describe).collect::<Vec<_>>().join("\n\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn last_manifest() -> Result<Utf8PathBuf, CliError> {
    let (state, _) = job::look_back(None)?;
    state
        .last_run(None)?
        .map(|run| run.manifest)
        .filter(|path| !path.as_str().is_empty())
        .ok_or_else(|| {
            CliError::new(
                ErrorClass::Input,
                "no job has run in this workspace yet; name the manifest",
            )
        })
}

fn describe(why: &Why) -> String {
    let reasons = match &why.verdict {
        Verdict::Fresh => Vec::new(),
        Verdict::Stale { reasons } => reasons.iter().map(ToString::to_string).collect(),
        Verdict::WaitsFor { steps } => steps.clone(),
        Verdict::Blocked { problems } => problems.clone(),
    };
    let key = |key: &Option<String>| short(key.as_deref(), "not known yet").to_owned();
    let mut text = format!("{}: {}", why.step, why.verdict.word());
    if !reasons.is_empty() {
        text.push_str(&format!(", {}", reasons.join("; ")));
    }
    if why.ingredients.is_empty() {
        return text + "\nIt is told by its files, which it hashes, and has no key.";
    }
    text.push_str(&match &why.last_key {
        None => format!("\nkey {}, never run", key(&why.key)),
        Some(_) => format!("\nkey {}, at the last success {}", key(&why.key), key(&why.last_key)),
    });
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "goes into it", "now", "last success"]);
    for compared in &why.ingredients {
        let Compared { name, now, before, waits } = compared;
        let now = if *waits { "not known yet" } else { short(now.as_deref(), "none") };
        let before = short(before.as_deref(), "none");
        table.add_row([if compared.differs() { "*" } else { "" }, name, now, before]);
    }
    format!("{text}\n\n{}", table.trim_fmt())
}
