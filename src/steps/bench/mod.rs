//! The benchmark of one file: warm-ups, then runs of a fixed prompt and a fixed number of greedily
//! generated tokens. It measures its own process, so it wants one of its own.

mod journal;
mod noise;
pub mod pair;
mod result;
mod spec;
mod subject;
mod summary;

use super::{Context, Event, Level, StepError, Unit};
use crate::host::HostFacts;
use crate::host::bandwidth::read_bandwidth;
use crate::host::rss::Memory;
use journal::{Conditions, Journal};
use subject::{Opened, Subject};
use summary::Facts;

pub use result::*;
pub use spec::BenchSpec;

/// Measures the file.
///
/// Tokens that end a generation do not stop it. With a directory for journals, runs that finished
/// before an interruption are kept; the warm-ups and at least one run are always done anew.
///
/// # Errors
/// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if nothing is asked for or more than the
/// model's context; [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if the file is no model;
/// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if memory does not suffice;
/// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if two runs generate different tokens.
pub fn run(spec: &BenchSpec, ctx: &Context<'_>) -> Result<BenchResult, StepError> {
    check(spec)?;
    let host = HostFacts::gather();
    let conditions = Conditions::now(spec, ctx.threads)?;
    let (mut journal, mut runs) = Journal::open(ctx.journals.as_deref(), &conditions)?;
    runs.truncate(spec.runs as usize - 1);
    let resumed_runs = runs.len() as u32;
    if resumed_runs > 0 {
        ctx.log(Level::Info, format!("{resumed_runs} runs of an interrupted benchmark are kept"));
    }

    let opened = Opened::load(spec, ctx)?;
    let mut subject = Subject::new(spec, &opened, ctx)?;
    let total = u64::from(spec.warmups) + u64::from(spec.runs);
    for warmup in 0..u64::from(spec.warmups) {
        ctx.progress(warmup, total, Unit::Runs);
        subject.warm_up(warmup + 1, ctx)?;
    }
    while runs.len() < spec.runs as usize {
        ctx.progress(u64::from(spec.warmups) + runs.len() as u64, total, Unit::Runs);
        let run = subject.measure_again(runs.first(), ctx)?;
        ctx.events
            .emit(Event::Metric { name: "latency_ms".to_owned(), value: run.sample.latency_ms });
        journal.keep(&run)?;
        runs.push(run);
    }
    ctx.progress(total, total, Unit::Runs);

    // Before the buffer of the bandwidth's measurement, which is no part of the model's memory.
    let memory = Memory::now();
    let facts = Facts {
        spec,
        threads: ctx.threads,
        read_bandwidth: bandwidth(ctx)?,
        host,
        resumed_runs,
        runs,
        memory,
    };
    let result = facts.summarize(&opened)?;
    log(&result, ctx);
    journal.remove();
    Ok(result)
}

/// Nothing can be measured of nothing.
fn check(spec: &BenchSpec) -> Result<(), StepError> {
    for (name, value) in [
        ("runs", spec.runs),
        ("prompt_tokens", spec.prompt_tokens),
        ("generate_tokens", spec.generate_tokens),
    ] {
        if value == 0 {
            return Err(StepError::usage(format!("bench: {name} is 0; expected at least 1")));
        }
    }
    Ok(())
}

/// Bytes per second that the benchmark's threads can read.
fn bandwidth(ctx: &Context<'_>) -> Result<Option<f64>, StepError> {
    ctx.check_cancelled()?;
    let rate = read_bandwidth(ctx.threads, HostFacts::gather().available_ram_bytes);
    ctx.check_cancelled()?;
    Ok(rate)
}

/// Says in the log what was found.
fn log(result: &BenchResult, ctx: &Context<'_>) {
    let m = &result.measured;
    ctx.log(
        Level::Info,
        format!(
            "latency p50 {:.2} ms, p95 {:.2} ms; prefill {:.2} tokens/s, first token {:.2} ms",
            m.latency_ms.p50,
            m.latency_ms.p95,
            m.prefill_tokens_per_s.p50,
            m.time_to_first_token_ms.p50
        ),
    );
    for reason in &m.noise.reasons {
        ctx.log(Level::Warn, reason.clone());
    }
}
