//! `qrun bench`: measure files at hand, each in a process of its own, or two in turns.

mod compare;
mod tables;

use std::process::ExitCode;

use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;

use super::direct::{Threads, look_at, run_step};
use super::model_args::kv_cache;
use super::{CliError, Globals, output};
use crate::exec::run_one;
use crate::model::KvCacheType;
use crate::steps::{BenchDocument, BenchResult, BenchSpec, ErrorClass, StepError, StepSpec};

/// PlannedModel latency, tokens per second, memory and its bandwidth of GGUF files
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF files, measured one after the other
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Utf8PathBuf>,
    /// PlannedModel two files in turns, in random order, and say how the second compares to the first
    #[arg(long)]
    compare: bool,
    /// Decides the random order: the same seed gives the same [default: another one each time]
    #[arg(long, value_name = "S", requires = "compare")]
    seed: Option<u64>,
    /// Tokens of the fixed prompt
    #[arg(long, value_name = "N", default_value_t = 128)]
    prompt_tokens: u32,
    /// Tokens to generate in each run
    #[arg(long, value_name = "N", default_value_t = 32)]
    generate_tokens: u32,
    /// Runs before the measured ones
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmups: u32,
    /// Measured runs of each file
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: u32,
    /// Type that keys and values are kept in: f16, q8_0 (half the memory) or f32 [default: f16]
    #[arg(long, value_name = "TYPE", value_parser = kv_cache)]
    kv_cache: Option<KvCacheType>,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON (schemas/bench.schema.json; with --compare schemas/bench_pair.schema.json)
    #[arg(long)]
    json: bool,
}

/// Runs the command. All files are looked at first; one that fails later does not keep the others
/// from being measured.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let tokens = u64::from(args.prompt_tokens) + u64::from(args.generate_tokens);
    look_at(args.files.iter().map(Utf8PathBuf::as_path), tokens, [])?;
    if args.compare {
        return compare::run(args, globals);
    }
    let mut results = Vec::new();
    let mut failure: Option<CliError> = None;
    for file in &args.files {
        let spec = StepSpec::Bench(args.spec(file));
        match in_a_process::<BenchResult>(spec, &format!("bench {file}"), args, globals) {
            Ok(result) => results.push(result),
            Err(error) if error.class() == ErrorClass::Interrupted => return Err(error),
            Err(error) => match &failure {
                None => failure = Some(error),
                Some(_) => output::note(&error.render()),
            },
        }
    }
    if args.json {
        output::print_json(&BenchDocument::of_files(results))?;
    } else if !results.is_empty() {
        output::tell(&tables::describe(&results))?;
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

impl Args {
    fn spec(&self, gguf: &Utf8PathBuf) -> BenchSpec {
        BenchSpec {
            gguf: gguf.into(),
            warmups: self.warmups,
            runs: self.runs,
            prompt_tokens: self.prompt_tokens,
            generate_tokens: self.generate_tokens,
            kv_cache: self.kv_cache,
        }
    }
}

/// Runs a step in a process of its own and reads its result.
fn in_a_process<T: DeserializeOwned>(
    spec: StepSpec,
    label: &str,
    args: &Args,
    globals: &Globals,
) -> Result<T, CliError> {
    run_step(globals, args.threads, label, |ctx| {
        let value = run_one(spec, ctx.threads, ctx.cancelled, ctx.events)?;
        serde_json::from_value(value).map_err(|e| StepError::from_error(ErrorClass::Step, &e))
    })
}
