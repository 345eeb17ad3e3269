//! `qrun convert`: a checkpoint as a GGUF file.

use std::process::ExitCode;

use camino::Utf8PathBuf;

use super::direct::run_step;
use super::model_args::{WriteArgs, beside, print_written};
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
    #[command(flatten)]
    how: WriteArgs,
}

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let spec = ConvertSpec {
        checkpoint: (&args.checkpoint).into(),
        tokenizer: args.how.checkpoint.tokenizer(),
        dtype: args.how.checkpoint.dtype,
        out: Out { path: args.out.clone(), replace: args.how.force },
        split: args.how.split,
        hash_tensors: args.how.json,
    };
    let result =
        run_step(globals, args.how.threads, &format!("convert {}", args.checkpoint), |ctx| {
            convert::run(&spec, &ctx.with_journals(beside(&spec.out)))
        })?;
    print_written(&[result], args.how.json)
}
