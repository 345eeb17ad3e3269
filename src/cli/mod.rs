//! The command line: one file per subcommand, each of which parses, calls and prints. Knows
//! nothing of kernels, and of formats what it prints.

pub mod direct;
pub mod interrupt;
pub mod output;
pub mod progress;

mod bench;
mod cache;
mod check;
mod completions;
mod convert;
mod diff;
mod doctor;
mod error;
mod evaluate;
mod exec_step;
mod fit;
mod generate;
mod inspect;
mod job;
mod log;
mod man;
mod model_args;
mod path_arg;
mod plan;
mod quantize;
mod report;
mod run;
mod schema;
mod status;
mod why;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use error::CliError;

/// From a published checkpoint to quantized GGUF files that somebody can trust.
///
/// A manifest (JOB.toml) says what is wanted; qrun runs what of it is stale and goes on where it was
/// stopped. For a file at hand there are the steps themselves: convert, quantize, check, bench and
/// their kin.
#[derive(Debug, Parser)]
#[command(name = "qrun", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Begin with:
  qrun doctor JOB.toml    can this host do it
  qrun plan JOB.toml      what would run, why, how large; changes nothing
  qrun JOB.toml           run it, as `qrun run JOB.toml` does; Ctrl-C and run again at will
  qrun status             what became of each step; `qrun log STEP` is the whole story
  qrun why STEP           what goes into a step, now and when it last ran

  qrun quantize model-f32.gguf model.gguf --format q4_K_M
  qrun inspect model.gguf

Exit codes:
  0    done
  1    a step failed
  2    the command line or the manifest is wrong
  3    an input is missing or not what its digest says
  4    the host cannot do it (RAM, disk)
  130  interrupted

Environment:
  NO_COLOR  no colours
  COLUMNS   width of tables where standard output is no terminal [default: as wide as they are]
  QRUN_LOG  what the library traces, such as qrun::gguf=trace; wins over -q and -v";

/// Flags that every subcommand takes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Globals {
    /// No progress; only results, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more: why each step runs and what it found; -vv also every tensor
    #[arg(long, short, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

/// In the order of the help: jobs, then files at hand, then what concerns qrun itself.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Plan(plan::Args),
    Status(status::Args),
    Log(log::Args),
    Why(why::Args),
    Report(report::Args),
    Doctor(doctor::Args),
    Cache(cache::Args),
    Convert(convert::Args),
    Quantize(quantize::Args),
    Inspect(inspect::Args),
    Diff(diff::Args),
    Check(check::Args),
    Bench(bench::Args),
    Evaluate(evaluate::Args),
    Generate(generate::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    ExecStep(exec_step::Args),
}

/// Runs the command line of this process and answers with its exit code.
pub fn run() -> ExitCode {
    let words = with_run(std::env::args_os().collect());
    let matches = path_arg::checked(Cli::command()).get_matches_from(words);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    log_to_stderr(cli.globals);
    let result = match cli.command {
        Command::Run(args) => run::run(&args, &cli.globals),
        Command::Plan(args) => plan::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Cache(args) => cache::run(&args, &cli.globals),
        Command::Bench(args) => bench::run(&args, &cli.globals),
        Command::Check(args) => check::run(&args, &cli.globals),
        Command::Completions(args) => completions::run(&args),
        Command::Convert(args) => convert::run(&args, &cli.globals),
        Command::Diff(args) => diff::run(&args, &cli.globals),
        Command::Doctor(args) => doctor::run(&args),
        Command::Evaluate(args) => evaluate::run(&args, &cli.globals),
        Command::Generate(args) => generate::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Quantize(args) => quantize::run(&args, &cli.globals),
        Command::Schema(args) => schema::run(&args),
        Command::ExecStep(args) => Ok(exec_step::run(&args)),
    };
    result.unwrap_or_else(|error| {
        output::note(&error.render());
        ExitCode::from(error.class().exit_code())
    })
}

/// Puts `run` before a command line whose first word is a manifest and no subcommand.
fn with_run(mut words: Vec<OsString>) -> Vec<OsString> {
    let first = words.iter().skip(1).find(|w| !w.as_encoded_bytes().starts_with(b"-"));
    let is_manifest = first.is_some_and(|word| {
        let path = Path::new(word);
        let known = Cli::command().find_subcommand(word).is_some() || word == "help";
        !known && (path.extension().is_some_and(|e| e == "toml") || path.is_file())
    });
    if is_manifest {
        words.insert(1, "run".into());
    }
    words
}

/// Sends what the library traces to standard error: warnings, and more with `-v` and `-vv`.
/// `QRUN_LOG` (a `tracing` filter such as `qrun::gguf=trace`) wins over the flags.
fn log_to_stderr(globals: Globals) {
    let level = match (globals.quiet, globals.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "qrun=info,warn",
        (false, _) => "qrun=debug,info",
    };
    let filter = EnvFilter::try_from_env("QRUN_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_says_the_exit_codes_that_there_are() {
        use crate::steps::ErrorClass::{Host, Input, Interrupted, Step, Usage};
        for (class, words) in [
            (Step, "a step failed"),
            (Usage, "the command line or the manifest is wrong"),
            (Input, "an input is missing"),
            (Host, "the host cannot do it"),
            (Interrupted, "interrupted"),
        ] {
            let line = format!("\n  {:<5}{words}", class.exit_code());
            assert!(AFTER_HELP.contains(&line), "{line}");
        }
        assert!(AFTER_HELP.lines().all(|line| line.len() <= 98));
    }

    #[test]
    fn a_manifest_alone_means_run() {
        assert_eq!(with_run(words("qrun job.toml")), words("qrun run job.toml"));
        assert_eq!(with_run(words("qrun -q job.toml")), words("qrun run -q job.toml"));
    }

    #[test]
    fn a_subcommand_stays_as_it_is() {
        for line in ["qrun doctor", "qrun doctor job.toml", "qrun help doctor", "qrun nonsense"] {
            assert_eq!(with_run(words(line)), words(line));
        }
    }
}
