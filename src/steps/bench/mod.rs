//! The benchmark of one file: warm-ups, then runs of a fixed prompt and a fixed number of greedily
//! generated tokens. It measures its own process, so it wants one of its own.

mod journal;
mod noise;
mod result;
mod summary;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::loaded::{Loaded, model_error};
use super::{BenchSpec, Context, ErrorClass, Level, StepError, Unit, prompt};
use crate::metrics::host::HostFacts;
use crate::metrics::rss::Usage;
use crate::model::sampler::Sampling;
use crate::model::{Generation, ModelOptions, Session, generate};
use journal::{Conditions, FinishedRun, Journal};

pub use result::*;

/// Measures the file.
///
/// Tokens that end a generation do not stop it. With a directory for journals, runs that finished
/// before an interruption are kept; the warm-ups and at least one run are always done anew.
///
/// # Errors
/// [`ErrorClass::Usage`] if nothing is asked for or more than the model's context;
/// [`ErrorClass::Input`] if the file is no model; [`ErrorClass::Host`] if memory does not suffice;
/// [`ErrorClass::Step`] if two runs generate different tokens.
pub fn run(spec: &BenchSpec, ctx: &Context<'_>) -> Result<BenchResult, StepError> {
    check(spec)?;
    let host = HostFacts::gather();
    let conditions = Conditions::now(spec, ctx.threads)?;
    let (mut journal, mut runs) = Journal::open(ctx.journals.as_deref(), &conditions)?;
    runs.truncate(spec.runs as usize - 1);
    let resumed_runs = runs.len();
    if resumed_runs > 0 {
        ctx.log(Level::Info, format!("{resumed_runs} runs of an interrupted benchmark are kept"));
    }

    let started = Instant::now();
    let loaded = Loaded::open(
        &spec.gguf,
        &ModelOptions { threads: ctx.threads, exact: false, kv_cache: spec.kv_cache },
    )?;
    let load_ms = milliseconds(started.elapsed());
    ctx.log(Level::Info, format!("loaded in {load_ms:.1} ms"));
    // The session first: it knows what is too long before a prompt of that length is made.
    let tokens = spec.prompt_tokens as usize + spec.generate_tokens as usize;
    let mut session = loaded.model.session(tokens).map_err(|e| model_error(&spec.gguf, &e))?;
    let prompt = prompt::fixed(&spec.gguf, &loaded.tokenizer, spec.prompt_tokens as usize)?;

    let total = u64::from(spec.warmups) + u64::from(spec.runs);
    for warmup in 0..u64::from(spec.warmups) {
        ctx.progress(warmup, total, Unit::Runs);
        let FinishedRun { sample, .. } = measure(&mut session, &prompt, spec, ctx)?;
        ctx.log(Level::Debug, format!("warm-up {}: {:.2} ms", warmup + 1, sample.latency_ms));
    }
    let mut before = Usage::now();
    while runs.len() < spec.runs as usize {
        ctx.progress(u64::from(spec.warmups) + runs.len() as u64, total, Unit::Runs);
        let mut run = measure(&mut session, &prompt, spec, ctx)?;
        let after = Usage::now();
        run.usage = before.zip(after).map(|(before, after)| after.since(&before));
        before = after;
        same_tokens(spec, runs.first(), &run)?;
        ctx.events.emit(super::Event::Metric {
            name: "latency_ms".to_owned(),
            value: run.sample.latency_ms,
        });
        journal.keep(&run)?;
        runs.push(run);
    }
    ctx.progress(total, total, Unit::Runs);

    let result =
        summary::Facts { spec, ctx, host, load_ms, resumed_runs, runs }.summarize(&loaded.file)?;
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
            return Err(StepError::new(
                ErrorClass::Usage,
                format!("bench: {name} is 0; expected at least 1"),
            ));
        }
    }
    Ok(())
}

/// One run: the prompt, then the tokens, with the time of each.
fn measure(
    session: &mut Session<'_>,
    prompt: &[u32],
    spec: &BenchSpec,
    ctx: &Context<'_>,
) -> Result<FinishedRun, StepError> {
    ctx.check_cancelled()?;
    session.clear();
    let generation = Generation {
        max_tokens: spec.generate_tokens as usize,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let mut times = Vec::with_capacity(generation.max_tokens);
    let started = Instant::now();
    let generated = generate(session, prompt, &generation, |_| {
        times.push(started.elapsed());
        match ctx.check_cancelled() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })
    .map_err(|e| model_error(&spec.gguf, &e))?;
    ctx.check_cancelled()?;
    let sample = RunSample {
        latency_ms: times.last().map_or(0.0, |t| milliseconds(*t)),
        time_to_first_token_ms: times.first().map_or(0.0, |t| milliseconds(*t)),
        inter_token_latency_ms: times.windows(2).map(|w| milliseconds(w[1] - w[0])).collect(),
    };
    Ok(FinishedRun { sample, generated, usage: None })
}

/// A greedy run that differs from the first one is no measurement of the same work.
fn same_tokens(
    spec: &BenchSpec,
    first: Option<&FinishedRun>,
    run: &FinishedRun,
) -> Result<(), StepError> {
    match first {
        Some(first) if first.generated != run.generated => Err(StepError::new(
            ErrorClass::Step,
            format!(
                "{}: two runs of the same prompt generated different tokens ({:?} and {:?}); the \
                 file changed, or the machine computes wrongly",
                spec.gguf, first.generated, run.generated
            ),
        )),
        _ => Ok(()),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
