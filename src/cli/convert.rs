//! `qrun convert`: a checkpoint as a GGUF file.

use std::process::ExitCode;

use camino::Utf8PathBuf;

use super::direct::{Threads, run_step};
use super::model_args::{CheckpointArgs, beside, print_written, split};
use super::{CliError, Globals};
use crate::steps::{ConvertSpec, Out, convert};

/// Write a published checkpoint as a GGUF file
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory with config.json and *.safetensors, in either published layout
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: Utf8PathBuf,
    /// File to write
    #[arg(value_name = "OUT.gguf")]
    out: Utf8PathBuf,
    /// Write parts of at most SIZE, such as 45GB, called OUT-00001-of-00003.gguf, as llama-gguf-split
    /// does
    #[arg(long, value_name = "SIZE", value_parser = split)]
    split: Option<u64>,
    #[command(flatten)]
    how: CheckpointArgs,
    /// Replace OUT.gguf if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON: the file with its SHA-256, and each tensor with its own
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let spec = ConvertSpec {
        checkpoint: (&args.checkpoint).into(),
        tokenizer: args.how.tokenizer(),
        dtype: args.how.dtype,
        out: Out { path: args.out.clone(), replace: args.force },
        split: args.split,
        hash_tensors: args.json,
    };
    let result = run_step(globals, args.threads, &format!("convert {}", args.checkpoint), |ctx| {
        convert::run(&spec, &ctx.with_journals(beside(&spec.out)))
    })?;
    print_written(&[result], args.json)
}
