//! `qrun cache`: what the state holds, whether it is true, and what of it can go.

use std::collections::BTreeMap;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::{CliError, Globals, direct, job, output};
use crate::plan::render::size;
use crate::state::{Holdings, Removed, State, lock_workspace};
use crate::steps::{ErrorClass, VerifySpec, verify as verify_step};

/// Look after what the workspace remembers
///
/// All of it is below `.qrun`, which may also be deleted as a whole: that loses speed, no results.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what is there and how much space it takes
    Du(Where),
    /// Hash every recorded output again and compare
    Verify(Where),
    /// Remove unfinished outputs, old logs, and records of files that are gone
    Gc {
        #[command(flatten)]
        at: Where,
        /// Runs of each job whose logs stay
        #[arg(long, value_name = "N", default_value_t = 10)]
        keep_runs: usize,
    },
}

#[derive(Debug, clap::Args)]
struct Where {
    /// A job's manifest [default: the workspace that this directory is in]
    #[arg(value_name = "JOB.toml")]
    manifest: Option<Utf8PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    match &args.command {
        Command::Du(at) => {
            let (state, _) = job::look_back(at.manifest.as_deref())?;
            let holdings = state.holdings()?;
            show(at, &holdings, || describe_holdings(&holdings))
        }
        Command::Verify(at) => verify(at, globals),
        Command::Gc { at, keep_runs } => {
            let workspace = match &at.manifest {
                Some(manifest) => job::load(manifest)?.workspace,
                None => job::nearest_workspace()?,
            };
            // Says so where there is nothing, and makes nothing then.
            job::look_back(at.manifest.as_deref())?;
            let state = State::open(&workspace)?;
            let _lock = lock_workspace(&workspace, "qrun cache gc")?;
            let removed = state.collect_garbage(*keep_runs)?;
            show(at, &removed, || describe_removed(&removed))
        }
    }
}

fn show<T: Serialize>(
    at: &Where,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<ExitCode, CliError> {
    if at.json {
        return output::print_json(value);
    }
    output::tell(&text())?;
    Ok(ExitCode::SUCCESS)
}

fn describe_holdings(h: &Holdings) -> String {
    let mut lines = vec![
        h.directory.to_string(),
        format!(
            "records   {} ({} digests, {} successes, {} runs)",
            size(h.database_bytes),
            h.digests,
            h.actions,
            h.runs
        ),
        format!("logs      {}", size(h.logs_bytes)),
        format!("journals  {}", size(h.journals_bytes)),
    ];
    for u in &h.unfinished {
        lines.push(format!(
            "unfinished output of {} ({}): {}, {}",
            u.step,
            u.job,
            u.path,
            size(u.bytes)
        ));
    }
    lines.join("\n")
}

fn describe_removed(r: &Removed) -> String {
    let mut lines = vec![format!(
        "removed {}: {} digests, {} successes, {} runs, {} unfinished outputs",
        size(r.bytes),
        r.digests,
        r.actions,
        r.runs,
        r.unfinished.len()
    )];
    lines.extend(r.unfinished.iter().map(|path| format!("  {path}")));
    lines.join("\n")
}

/// What became of a recorded output.
#[derive(Serialize)]
struct Checked {
    path: Utf8PathBuf,
    bytes: u64,
    /// `as_recorded`, `changed` or `gone`.
    finding: &'static str,
}

fn verify(at: &Where, globals: &Globals) -> Result<ExitCode, CliError> {
    let (state, _) = job::look_back(at.manifest.as_deref())?;
    let damage = state.check()?;
    if !damage.is_empty() {
        return Err(CliError::host(format!(
            "{} is damaged: delete it and run again; that loses speed, no results\n{}",
            state.path(),
            damage.join("\n")
        )));
    }
    // The last success that wrote a name says what it should hold.
    let mut files = BTreeMap::new();
    for action in state.actions()? {
        files.extend(action.outputs.into_iter().map(|output| (output.path.clone(), output)));
    }
    let there = files.values().filter(|file| file.path.is_file());
    let spec = VerifySpec {
        directory: Utf8PathBuf::from("/").into(),
        files: there.map(|file| (file.path.to_string(), None)).collect::<BTreeMap<_, _>>().into(),
    };
    let found = direct::run_step(globals, direct::Threads::default(), "verify", |context| {
        verify_step::run(&spec, context)
    })?;
    let found: BTreeMap<_, _> = found.files.into_iter().map(|f| (f.path, f.sha256)).collect();
    let checked = files.into_values().map(|file| {
        let finding = match found.get(&file.path) {
            None => "gone",
            Some(sha256) if *sha256 == file.sha256 => "as_recorded",
            Some(_) => "changed",
        };
        Checked { path: file.path, bytes: file.bytes, finding }
    });
    let checked: Vec<Checked> = checked.collect();
    let changed = checked.iter().any(|c| c.finding == "changed");
    show(at, &checked, || {
        let line = |c: &Checked| format!("{:11}  {}", c.finding.replace('_', " "), c.path);
        checked.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if changed { ExitCode::from(ErrorClass::Input.exit_code()) } else { ExitCode::SUCCESS })
}
