//! `qrun schema`: the JSON schema of the manifest, or of what commands print.

use std::process::ExitCode;

use super::CliError;
use super::output::{self, Dated};
use super::progress::RunEvent;
use crate::steps::{BenchDocument, BenchPairResult};

/// Print the JSON schema of the manifest, or of what commands print
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Editors that know TOML check a manifest against it: begin the manifest with\n\
                  `#:schema ../schemas/job.schema.json`."
)]
pub struct Args {
    /// What to describe
    #[arg(value_enum, default_value_t = What::Job)]
    what: What,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// The manifest (schemas/job.schema.json)
    Job,
    /// The benchmark JSON (schemas/bench.schema.json)
    Bench,
    /// The JSON of `bench --compare` (schemas/bench_pair.schema.json)
    BenchPair,
    /// A line of `run --json` (schemas/run_event.schema.json)
    RunEvent,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    output::print_json(&match args.what {
        What::Job => crate::manifest::schema(),
        What::Bench => BenchDocument::schema(),
        What::BenchPair => schemars::schema_for!(Dated<BenchPairResult>).to_value(),
        What::RunEvent => RunEvent::schema(),
    })
}
