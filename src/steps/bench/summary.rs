//! From the runs of a benchmark to its result.

use super::journal::FinishedRun;
use super::{BenchResult, BenchSettings, Measurements, RunSample, noise};
use crate::gguf::{self, TensorSource};
use crate::metrics::Distribution;
use crate::metrics::host::HostFacts;
use crate::metrics::rss::{Memory, Usage};
use crate::steps::{BenchSpec, Context, ErrorClass, StepError};

/// What a benchmark has found out.
pub struct Facts<'a> {
    pub spec: &'a BenchSpec,
    pub ctx: &'a Context<'a>,
    pub host: HostFacts,
    pub load_ms: f64,
    pub resumed_runs: usize,
    /// At least one.
    pub runs: Vec<FinishedRun>,
}

impl Facts<'_> {
    /// The result; memory is read now.
    pub fn summarize(self, file: &gguf::File) -> Result<BenchResult, StepError> {
        let Self { spec, ctx, host, load_ms, resumed_runs, runs } = self;
        let generated = runs.first().map_or(Vec::new(), |run| run.generated.clone());
        // Of all runs, those of an interrupted benchmark too; of part of them it would mislead.
        let usage = runs
            .iter()
            .map(|run| run.usage)
            .reduce(|a, b| a.zip(b).map(|(a, b): (Usage, Usage)| a.plus(&b)))
            .flatten();
        let faults = usage.map(|u| u.faults);
        let disturbance = usage.and_then(|u| u.disturbance());
        let samples: Vec<RunSample> = runs.into_iter().map(|run| run.sample).collect();
        let latency_ms = distribution("latency_ms", samples.iter().map(|s| s.latency_ms))?;
        let memory = Memory::now();
        let megabytes = |of: fn(&Memory) -> u64| memory.as_ref().map(|m| of(m) as f64 / 1e6);
        let several = spec.generate_tokens > 1;
        let measured = Measurements {
            settings: BenchSettings {
                warmups: spec.warmups,
                runs: spec.runs,
                prompt_tokens: spec.prompt_tokens,
                generate_tokens: spec.generate_tokens,
                threads: ctx.threads,
            },
            host,
            load_ms,
            time_to_first_token_ms: distribution(
                "time_to_first_token_ms",
                samples.iter().map(|s| s.time_to_first_token_ms),
            )?,
            inter_token_latency_ms: several
                .then(|| {
                    let all = samples.iter().flat_map(|s| s.inter_token_latency_ms.iter().copied());
                    distribution("inter_token_latency_ms", all)
                })
                .transpose()?,
            prefill_tokens_per_s: distribution(
                "prefill_tokens_per_s",
                samples
                    .iter()
                    .map(|s| f64::from(spec.prompt_tokens) * 1e3 / s.time_to_first_token_ms),
            )?,
            decode_tokens_per_s: several
                .then(|| distribution("decode_tokens_per_s", samples.iter().map(decode_rate)))
                .transpose()?,
            peak_rss_mb: megabytes(|m| m.peak_rss),
            rss_anon_mb: megabytes(|m| m.rss_anon),
            rss_file_mb: megabytes(|m| m.rss_file),
            minor_faults: faults.map(|f| f.minor),
            major_faults: faults.map(|f| f.major),
            noise: noise::judge(&latency_ms, disturbance, faults),
            latency_ms,
            resumed_runs: resumed_runs as u32,
            generated,
            samples,
        };
        let (bytes, bits_per_weight) = (file.file_bytes(), file.bits_per_weight());
        Ok(BenchResult { gguf: spec.gguf.clone(), bytes, bits_per_weight, measured })
    }
}

/// Tokens after the first over the time they took.
fn decode_rate(sample: &RunSample) -> f64 {
    let between = &sample.inter_token_latency_ms;
    between.len() as f64 * 1e3 / between.iter().sum::<f64>()
}

fn distribution(what: &str, samples: impl Iterator<Item = f64>) -> Result<Distribution, StepError> {
    Distribution::of(&samples.collect::<Vec<_>>()).ok_or_else(|| {
        StepError::new(
            ErrorClass::Host,
            format!("{what}: the clock stood still during a run; expected a time above zero"),
        )
    })
}
