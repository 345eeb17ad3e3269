//! From the runs of a benchmark to its result.

use super::journal::FinishedRun;
use super::subject::Opened;
use super::{BenchResult, BenchSettings, Measurements, RunSample, noise};
use crate::gguf::TensorSource;
use crate::host::clock::sustained_mhz;
use crate::host::rss::{Memory, Usage};
use crate::host::{ClockRates, HostFacts};
use crate::stats::Distribution;
use crate::steps::{BenchSpec, StepError};

/// What a benchmark has found out.
pub struct Facts<'a> {
    pub spec: &'a BenchSpec,
    pub threads: usize,
    pub host: HostFacts,
    pub resumed_runs: u32,
    /// At least one.
    pub runs: Vec<FinishedRun>,
    /// The process's after the last run, if it is that of this model only.
    pub memory: Option<Memory>,
    /// Bytes per second that the threads can read.
    pub read_bandwidth: Option<f64>,
}

impl Facts<'_> {
    /// The result.
    ///
    /// # Errors
    /// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if a run took no time.
    pub fn summarize(self, opened: &Opened) -> Result<BenchResult, StepError> {
        let Self { spec, threads, host, resumed_runs, runs, memory, read_bandwidth } = self;
        let generated = runs.first().map_or(Vec::new(), |run| run.generated.clone());
        // Of all runs, those of an interrupted benchmark too; of part of them it would mislead.
        let usage = runs
            .iter()
            .map(|run| run.usage)
            .reduce(|a, b| a.zip(b).map(|(a, b): (Usage, Usage)| a.plus(&b)))
            .flatten();
        let faults = usage.map(|u| u.faults);
        let disturbance = usage.and_then(|u| u.disturbance());
        let clocks: Vec<f64> = runs.iter().filter_map(|run| run.clock_mhz).collect();
        let clock_mhz = ClockRates::of(&clocks, sustained_mhz(threads));
        let samples: Vec<RunSample> = runs.into_iter().map(|run| run.sample).collect();
        let latency_ms = distribution("latency_ms", samples.iter().map(|s| s.latency_ms))?;
        let megabytes = |of: fn(&Memory) -> u64| memory.as_ref().map(|m| of(m) as f64 / 1e6);
        let several = spec.generate_tokens > 1;
        let decode_tokens_per_s = several
            .then(|| {
                distribution("decode_tokens_per_s", samples.iter().map(RunSample::decode_rate))
            })
            .transpose()?;
        let decode_bytes_per_token = opened.traffic(spec)?.map(|t| t.total());
        let decode_gb_per_s = decode_bytes_per_token
            .zip(decode_tokens_per_s.as_ref())
            .map(|(bytes, rate)| bytes as f64 * rate.p50 / 1e9);
        let read_gb_per_s = read_bandwidth.map(|rate| rate / 1e9);
        let measured = Measurements {
            settings: BenchSettings {
                warmups: spec.warmups,
                runs: spec.runs,
                prompt_tokens: spec.prompt_tokens,
                generate_tokens: spec.generate_tokens,
                threads,
            },
            host,
            load_ms: opened.load_ms,
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
                samples.iter().map(|s| s.prefill_rate(spec.prompt_tokens)),
            )?,
            decode_tokens_per_s,
            decode_bytes_per_token,
            decode_gb_per_s,
            read_gb_per_s,
            decode_bandwidth_share: decode_gb_per_s.zip(read_gb_per_s).map(|(d, r)| d / r),
            peak_rss_mb: megabytes(|m| m.peak_rss),
            rss_anon_mb: megabytes(|m| m.rss_anon),
            rss_file_mb: megabytes(|m| m.rss_file),
            minor_faults: faults.map(|f| f.minor),
            major_faults: faults.map(|f| f.major),
            clock_mhz,
            noise: noise::judge(&latency_ms, disturbance, faults, clock_mhz),
            latency_ms,
            resumed_runs,
            generated,
            samples,
        };
        let (bytes, bits_per_weight) =
            (opened.file().file_bytes(), opened.file().bits_per_weight());
        Ok(BenchResult { gguf: spec.gguf.path.clone(), bytes, bits_per_weight, measured })
    }
}

fn distribution(what: &str, samples: impl Iterator<Item = f64>) -> Result<Distribution, StepError> {
    Distribution::of(&samples.collect::<Vec<_>>()).ok_or_else(|| {
        StepError::host(format!(
            "{what}: the clock stood still during a run; expected a time above zero"
        ))
    })
}
