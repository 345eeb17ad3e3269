//! `qrun bench --compare A B`: two files in turns, and how the second compares to the first.

use std::process::ExitCode;

use super::{Args, in_a_process, tables};
use crate::cli::{CliError, Globals, output};
use crate::steps::{BenchPairResult, BenchPairSpec, StepSpec};

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    let [first, second] = args.files.as_slice() else {
        return Err(CliError::usage(format!(
            "--compare takes two files, and here are {}; name the one to compare with first",
            args.files.len()
        )));
    };
    let spec = BenchPairSpec {
        first: args.spec(first),
        second: second.into(),
        // A number that JSON readers without 64-bit integers keep, too.
        seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
    };
    let label = format!("bench {first} and {second}");
    let result: BenchPairResult = in_a_process(StepSpec::BenchPair(spec), &label, args, globals)?;
    if args.json {
        return output::print_dated_json(&result);
    }
    output::tell(&describe(result))?;
    Ok(ExitCode::SUCCESS)
}

/// Which file is which, their numbers, the verdicts.
fn describe(result: BenchPairResult) -> String {
    let BenchPairResult { a, b, seed, quiet, prefill, decode, latency, .. } = result;
    let mut text = format!("A: {}\nB: {}\n\n", a.gguf, b.gguf);
    let named = [("A", a), ("B", b)].map(|(name, mut result)| {
        result.gguf = name.into();
        result
    });
    text.push_str(&tables::describe(&named));
    text.push_str(&format!("Runs of A and B in turns, in random order (--seed {seed}).\n\n"));
    for comparison in [Some(prefill), decode, Some(latency)].into_iter().flatten() {
        text.push_str(&comparison.verdict);
        text.push('\n');
    }
    if !quiet {
        text.push_str("The machine was not quiet: what is told above may be told less surely.\n");
    }
    text
}
