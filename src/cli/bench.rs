//! `qrun bench`: measure files at hand, each in a process of its own.

use std::process::ExitCode;

use bytesize::ByteSize;
use camino::Utf8PathBuf;
use comfy_table::{CellAlignment, Table, presets};

use super::direct::{Threads, run_step};
use super::model_args::kv_cache;
use super::{CliError, Globals, output};
use crate::exec::run_one;
use crate::model::KvCacheType;
use crate::steps::{BenchDocument, BenchResult, BenchSpec, ErrorClass, StepError, StepSpec};

/// Measure latency, tokens per second and memory of GGUF files
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF files, measured one after the other
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Utf8PathBuf>,
    /// Tokens of the fixed prompt
    #[arg(long, value_name = "N", default_value_t = 128)]
    prompt_tokens: u32,
    /// Tokens to generate in each run
    #[arg(long, value_name = "N", default_value_t = 32)]
    generate_tokens: u32,
    /// Runs before the measured ones
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmups: u32,
    /// Measured runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    runs: u32,
    /// Type that keys and values are kept in: f16, q8_0 (half the memory) or f32 [default: f16]
    #[arg(long, value_name = "TYPE", value_parser = kv_cache)]
    kv_cache: Option<KvCacheType>,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON (schemas/bench.schema.json)
    #[arg(long)]
    json: bool,
}

/// Runs the command. A file that fails does not keep the others from being measured.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let mut results = Vec::new();
    let mut failure: Option<CliError> = None;
    for file in &args.files {
        match bench(file, args, globals) {
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
        output::print(&describe(&results))?;
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn bench(file: &Utf8PathBuf, args: &Args, globals: &Globals) -> Result<BenchResult, CliError> {
    let spec = BenchSpec {
        gguf: file.clone(),
        warmups: args.warmups,
        runs: args.runs,
        prompt_tokens: args.prompt_tokens,
        generate_tokens: args.generate_tokens,
        kv_cache: args.kv_cache,
    };
    run_step(globals, args.threads, &format!("bench {file}"), |ctx| {
        let spec = StepSpec::Bench(spec);
        let value = run_one(spec, ctx.threads, None, ctx.cancelled, ctx.events)?;
        serde_json::from_value(value).map_err(|e| StepError::from_error(ErrorClass::Step, &e))
    })
}

/// The results as a table, and what the percentiles are worth.
fn describe(results: &[BenchResult]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "file",
        "size",
        "load ms",
        "first token ms",
        "p50 ms",
        "p95 ms",
        "prefill tok/s",
        "decode tok/s",
        "peak RSS MB",
        "noise",
    ]);
    for result in results {
        let m = &result.measured;
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        table.add_row([
            result.gguf.to_string(),
            ByteSize(result.bytes).display().si().to_string(),
            number(Some(m.load_ms)),
            number(Some(m.time_to_first_token_ms.p50)),
            number(Some(m.latency_ms.p50)),
            number(Some(m.latency_ms.p95)),
            number(Some(m.prefill_tokens_per_s.p50)),
            number(m.decode_tokens_per_s.as_ref().map(|d| d.p50)),
            number(m.peak_rss_mb),
            if m.noise.quiet { "quiet" } else { "noisy" }.to_owned(),
        ]);
    }
    for column in 1..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{table}\n");
    if let Some(first) = results.first() {
        let settings = first.measured.settings;
        text.push_str(&format!(
            "\n{} runs after {} warm-ups, {} prompt and {} generated tokens, {} threads.\n{}.\n",
            settings.runs,
            settings.warmups,
            settings.prompt_tokens,
            settings.generate_tokens,
            settings.threads,
            first.measured.latency_ms.confidence.p95.basis,
        ));
    }
    text
}
