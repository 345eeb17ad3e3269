//! A model that is measured: one run after the other, each with what it took from the machine.

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use super::RunSample;
use super::journal::FinishedRun;
use crate::gguf::{self, TensorSource};
use crate::host::clock::clock_mhz;
use crate::host::rss::Usage;
use crate::model::sampler::Sampling;
use crate::model::{
    DecodeTraffic, Generation, KvCacheType, ModelOptions, Session, decode_traffic, generate,
};
use crate::steps::loaded::{Loaded, model_error};
use crate::steps::{BenchSpec, Context, Level, StepError, prompt};

/// The file of a [`Subject`].
pub struct Opened {
    loaded: Loaded,
    /// Opening, checking, building.
    pub load_ms: f64,
}

/// A model with its session and its prompt.
pub struct Subject<'a> {
    spec: &'a BenchSpec,
    session: Session<'a>,
    prompt: Vec<u32>,
}

impl Opened {
    /// Loads the file.
    ///
    /// # Errors
    /// As [`Loaded::open`].
    pub fn load(spec: &BenchSpec, ctx: &Context<'_>) -> Result<Self, StepError> {
        let options = ModelOptions { threads: ctx.threads, exact: false, kv_cache: spec.kv_cache };
        let started = Instant::now();
        let loaded = Loaded::open(&spec.gguf, &options)?;
        let load_ms = milliseconds(started.elapsed());
        ctx.log(Level::Info, format!("loaded in {load_ms:.1} ms"));
        loaded.warn(ctx);
        Ok(Self { loaded, load_ms })
    }

    pub fn file(&self) -> &gguf::File {
        &self.loaded.file
    }

    /// What a token that a run generates after its first reads; `None` if there is none.
    ///
    /// # Errors
    /// As [`decode_traffic`]; not for a file that was loaded.
    pub fn traffic(&self, spec: &BenchSpec) -> Result<Option<DecodeTraffic>, StepError> {
        let positions = decode_positions(spec);
        if positions.is_empty() {
            return Ok(None);
        }
        let source: &dyn TensorSource = self.file();
        let kind = spec.kv_cache.unwrap_or(KvCacheType::F16);
        let traffic = decode_traffic(source, positions, kind);
        traffic.map(Some).map_err(|e| model_error(&spec.gguf, &e))
    }
}

/// Where the tokens stand that are read to generate all but the first.
fn decode_positions(spec: &BenchSpec) -> Range<usize> {
    let first = spec.prompt_tokens as usize;
    first..first + spec.generate_tokens.saturating_sub(1) as usize
}

impl<'a> Subject<'a> {
    /// What is to be measured as `spec` says.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if more is asked for than the model's
    /// context; [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if memory does not suffice;
    /// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if the vocabulary cannot spell the
    /// prompt.
    pub fn new(
        spec: &'a BenchSpec,
        opened: &'a Opened,
        ctx: &Context<'a>,
    ) -> Result<Self, StepError> {
        // The session first: it knows what is too long before a prompt of that length is made.
        let tokens = spec.prompt_tokens as usize + spec.generate_tokens as usize;
        let session = opened.loaded.session(tokens, ctx)?;
        let prompt =
            prompt::fixed(&spec.gguf, &opened.loaded.tokenizer, spec.prompt_tokens as usize)?;
        Ok(Self { spec, session, prompt })
    }

    /// One run: the prompt, then the tokens, with the time of each.
    ///
    /// # Errors
    /// [`ErrorClass::Interrupted`](crate::steps::ErrorClass::Interrupted) when told to stop; the
    /// model's own.
    pub fn measure(&mut self, ctx: &Context<'_>) -> Result<FinishedRun, StepError> {
        ctx.check_cancelled()?;
        self.session.clear();
        let generation = Generation {
            max_tokens: self.spec.generate_tokens as usize,
            sampling: Sampling::GREEDY,
            stop: &[],
        };
        let mut times = Vec::with_capacity(generation.max_tokens);
        let before = Usage::now();
        let started = Instant::now();
        let generated = generate(&mut self.session, &self.prompt, &generation, |_| {
            times.push(started.elapsed());
            match ctx.check_cancelled() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .map_err(|e| model_error(&self.spec.gguf, &e))?;
        ctx.check_cancelled()?;
        // The clock first, while the processors are still at the pace of the run.
        let clock_mhz = clock_mhz(ctx.threads);
        let usage = before.zip(Usage::now()).map(|(before, after)| after.since(&before));
        let sample = RunSample {
            latency_ms: times.last().map_or(0.0, |t| milliseconds(*t)),
            time_to_first_token_ms: times.first().map_or(0.0, |t| milliseconds(*t)),
            inter_token_latency_ms: times.windows(2).map(|w| milliseconds(w[1] - w[0])).collect(),
            minor_faults: usage.map(|u| u.faults.minor),
            major_faults: usage.map(|u| u.faults.major),
        };
        Ok(FinishedRun { sample, generated, usage, clock_mhz })
    }

    /// A run to get warm, number `number`.
    ///
    /// # Errors
    /// As [`Subject::measure`].
    pub fn warm_up(&mut self, number: u64, ctx: &Context<'_>) -> Result<(), StepError> {
        let FinishedRun { sample, .. } = self.measure(ctx)?;
        ctx.log(Level::Debug, format!("warm-up {number}: {:.2} ms", sample.latency_ms));
        Ok(())
    }

    /// A run whose tokens are held against those of the `first` one: a greedy run that differs is
    /// no measurement of the same work.
    ///
    /// # Errors
    /// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if they differ; otherwise as
    /// [`Subject::measure`].
    pub fn measure_again(
        &mut self,
        first: Option<&FinishedRun>,
        ctx: &Context<'_>,
    ) -> Result<FinishedRun, StepError> {
        let run = self.measure(ctx)?;
        match first {
            Some(first) if first.generated != run.generated => Err(StepError::failed(format!(
                "{}: two runs of the same prompt generated different tokens ({:?} and {:?}); \
                the file changed, or the machine computes wrongly",
                self.spec.gguf, first.generated, run.generated
            ))),
            _ => Ok(run),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
