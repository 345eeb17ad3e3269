//! The benchmark of two files in turns: both are loaded, and each pair of runs has one of either, in
//! random order, so that what happens to the machine happens to both. It measures its own process,
//! so it wants one of its own.

mod order;
mod result;
mod spec;

use bytesize::ByteSize;

use super::journal::{FinishedRun, stamps};
use super::subject::{Opened, Subject};
use super::summary::Facts;
use super::{bandwidth, check};
use crate::host::HostFacts;
use crate::stats::PairedRatio;
use crate::stats::paired::MOST_PAIRS;
use crate::steps::{BenchSpec, Context, Level, StepError, Unit};

pub use order::PairOrder;
pub use result::{BenchPairResult, PairComparison};
pub use spec::BenchPairSpec;

/// Version of the JSON.
const SCHEMA: u32 = 1;

/// Measures both files.
///
/// # Errors
/// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if nothing is asked for, more runs than
/// can be compared, or more than a model's context;
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a file is no model;
/// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if memory does not suffice for both;
/// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if two runs of a file generate different
/// tokens.
pub fn run(spec: &BenchPairSpec, ctx: &Context<'_>) -> Result<BenchPairResult, StepError> {
    let specs = [spec.first.clone(), BenchSpec { gguf: spec.second.clone(), ..spec.first.clone() }];
    let [a, b] = &specs;
    check(a)?;
    let pairs = a.runs as usize;
    if pairs > MOST_PAIRS {
        let message =
            format!("bench: {pairs} runs cannot be compared; expected {MOST_PAIRS} or fewer");
        return Err(StepError::usage(message));
    }
    let host = HostFacts::gather();
    both_fit(&specs, host.available_ram_bytes)?;
    let opened = [Opened::load(a, ctx)?, Opened::load(b, ctx)?];
    let mut subjects = [Subject::new(a, &opened[0], ctx)?, Subject::new(b, &opened[1], ctx)?];

    let total = 2 * (u64::from(a.warmups) + u64::from(a.runs));
    let mut done = 0;
    let mut step = || {
        ctx.progress(done, total, Unit::Runs);
        done += 1;
    };
    for warmup in 0..u64::from(a.warmups) {
        for subject in &mut subjects {
            step();
            subject.warm_up(warmup + 1, ctx)?;
        }
    }
    let order = order::shuffled(pairs, spec.seed);
    let mut runs: [Vec<FinishedRun>; 2] = Default::default();
    for pair in &order {
        let turns = match pair {
            PairOrder::Ab => [0, 1],
            PairOrder::Ba => [1, 0],
        };
        for which in turns {
            step();
            let run = subjects[which].measure_again(runs[which].first(), ctx)?;
            runs[which].push(run);
        }
    }
    ctx.progress(total, total, Unit::Runs);

    let read_bandwidth = bandwidth(ctx)?;
    let facts = |spec, runs| Facts {
        spec,
        threads: ctx.threads,
        host: host.clone(),
        resumed_runs: 0,
        runs,
        memory: None,
        read_bandwidth,
    };
    let [runs_a, runs_b] = runs;
    let prefill = compared(&runs_a, &runs_b, |r| r.sample.prefill_rate(a.prompt_tokens));
    let decode = compared(&runs_a, &runs_b, |r| r.sample.decode_rate());
    let latency = compared(&runs_a, &runs_b, |r| r.sample.latency_ms);
    let (a, b) = (facts(a, runs_a).summarize(&opened[0])?, facts(b, runs_b).summarize(&opened[1])?);
    for side in [&a, &b] {
        for reason in &side.measured.noise.reasons {
            ctx.log(Level::Warn, format!("{}: {reason}", side.gguf));
        }
    }
    let still = || StepError::host("the clock stood still during a run");
    Ok(BenchPairResult {
        schema: SCHEMA,
        seed: spec.seed,
        order,
        quiet: a.measured.noise.quiet && b.measured.noise.quiet,
        prefill: PairComparison::new(prefill.ok_or_else(still)?, result::PREFILL),
        decode: decode.map(|ratio| PairComparison::new(ratio, result::DECODE)),
        latency: PairComparison::new(latency.ok_or_else(still)?, result::LATENCY),
        a,
        b,
    })
}

/// The ratio b/a of what `of` finds in the runs of a pair; `None` where it finds no number.
fn compared(
    a: &[FinishedRun],
    b: &[FinishedRun],
    of: impl Fn(&FinishedRun) -> f64,
) -> Option<PairedRatio> {
    let pairs: Vec<(f64, f64)> = a.iter().zip(b).map(|(a, b)| (of(a), of(b))).collect();
    PairedRatio::of(&pairs)
}

/// Both files have to stay in memory; one that a run of the other drives out is read anew from the
/// disk in every run.
fn both_fit(specs: &[BenchSpec; 2], available: u64) -> Result<(), StepError> {
    let mut files = Vec::new();
    for BenchSpec { gguf, .. } in specs {
        let stamps = stamps(gguf)?;
        let first = stamps.first().map(|stamp| (stamp.device, stamp.inode));
        files.push((first, stamps.iter().map(|stamp| stamp.bytes).sum::<u64>()));
    }
    let same = files[0].0 == files[1].0;
    let needed: u64 = files.iter().take(if same { 1 } else { 2 }).map(|(_, bytes)| bytes).sum();
    // Zero: this system does not say.
    if available == 0 || needed <= available {
        return Ok(());
    }
    let size = |bytes| ByteSize(bytes).display().si();
    Err(StepError::host(format!(
        "{} ({}) and {} ({}) have to be in memory together to run in turns, and {} are \
        available; free some, or measure them one after the other without --compare",
        specs[0].gguf,
        size(files[0].1),
        specs[1].gguf,
        size(files[1].1),
        size(available),
    )))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::steps::ErrorClass;

    #[test]
    fn two_files_have_to_fit_together_and_one_file_once() {
        let guard = tempfile::tempdir().unwrap();
        let dir = camino::Utf8Path::from_path(guard.path()).unwrap();
        let spec = |name: &str, bytes: usize| {
            let gguf = dir.join(name);
            fs::write(&gguf, vec![0; bytes]).unwrap();
            BenchSpec {
                gguf: gguf.into(),
                warmups: 0,
                runs: 1,
                prompt_tokens: 1,
                generate_tokens: 1,
                kv_cache: None,
            }
        };
        let files = [spec("a", 1000), spec("b", 2000)];
        both_fit(&files, 3000).unwrap();
        both_fit(&files, 0).unwrap();
        let error = both_fit(&files, 2999).unwrap_err();
        assert_eq!(error.class, ErrorClass::Host);
        assert!(error.message.contains("(2.0 kB) have to be in memory together"), "{error}");
        both_fit(&[files[1].clone(), files[1].clone()], 2000).unwrap();
        let missing = BenchSpec { gguf: dir.join("none").into(), ..files[0].clone() };
        assert_eq!(both_fit(&[missing, files[0].clone()], 1).unwrap_err().class, ErrorClass::Input);
    }
}
