//! What a benchmark finds out, as it stands in the JSON.

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::{ClockRates, HostFacts};
use crate::stats::{Distribution, Ratio};

/// Result of [`BenchSpec`](crate::steps::BenchSpec).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchResult {
    /// The file.
    #[schemars(with = "String")]
    pub gguf: Utf8PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Bits of tensor data per weight.
    pub bits_per_weight: f64,
    #[serde(flatten)]
    pub measured: Measurements,
}

/// What was measured. 1 MB is 1000000 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurements {
    pub settings: BenchSettings,
    /// The machine at the start.
    pub host: HostFacts,
    /// Opening the file, checking it and building the model; pages of the weights that the load
    /// does not touch are read later, in the warm-ups.
    pub load_ms: f64,
    /// From the prompt to the last generated token, per run.
    pub latency_ms: Distribution,
    /// From the prompt to the first generated token, per run.
    pub time_to_first_token_ms: Distribution,
    /// From one generated token to the next, all runs pooled; absent when one token is generated.
    /// Neighbouring tokens are not quite independent, so its intervals are a little too narrow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inter_token_latency_ms: Option<Distribution>,
    /// Prompt tokens over time to first token, per run.
    pub prefill_tokens_per_s: Distribution,
    /// Generated tokens after the first over the time they took, per run; absent when one token is
    /// generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_tokens_per_s: Option<Distribution>,
    /// Bytes that generating a token after the first reads, each counted once: all weights but the
    /// experts that are not used and the rows of the embedding that are not looked up, and the keys
    /// and values at the mean position. Computed from the file, not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_bytes_per_token: Option<u64>,
    /// Those bytes times the median of `decode_tokens_per_s`, in GB (1000000000 bytes) per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_gb_per_s: Option<f64>,
    /// What as many threads read when they do nothing else, from memory that no cache holds;
    /// measured after the runs. Absent where memory does not suffice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_gb_per_s: Option<f64>,
    /// `decode_gb_per_s` over `read_gb_per_s`: near 1, memory is what decoding waits for. A model
    /// small enough for the caches can be above 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_bandwidth_share: Option<f64>,
    /// Largest resident set of the benchmark's process, pages of the mapped file included; absent
    /// where the system does not tell, and where the process held another model, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_mb: Option<f64>,
    /// Of the resident set at the end: the process's own memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_anon_mb: Option<f64>,
    /// Of the resident set at the end: pages of mapped files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_file_mb: Option<f64>,
    /// Page faults during the measured runs that needed no disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor_faults: Option<u64>,
    /// Page faults during the measured runs that read from disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_faults: Option<u64>,
    /// The processors' clocks at the ends of the measured runs; absent where the system does not
    /// tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<ClockRates>,
    /// Whether the machine was quiet enough to compare.
    pub noise: Noise,
    /// Runs taken over from a benchmark of the same file that was stopped.
    pub resumed_runs: u32,
    /// The generated tokens; every run gives the same.
    pub generated: Vec<u32>,
    /// Every run, in order.
    pub samples: Vec<RunSample>,
}

impl Measurements {
    /// A quantile of this latency over the same of another's, with its interval.
    pub fn latency_ratio(&self, other: &Measurements, q: f64) -> Option<Ratio> {
        let latencies =
            |m: &Measurements| m.samples.iter().map(|s| s.latency_ms).collect::<Vec<f64>>();
        Ratio::of(&latencies(self), &latencies(other), q)
    }
}

/// How a benchmark was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BenchSettings {
    pub warmups: u32,
    pub runs: u32,
    pub prompt_tokens: u32,
    pub generate_tokens: u32,
    pub threads: usize,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSample {
    pub latency_ms: f64,
    pub time_to_first_token_ms: f64,
    /// One less than the generated tokens.
    pub inter_token_latency_ms: Vec<f64>,
    /// Page faults that needed no disk; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor_faults: Option<u64>,
    /// Page faults that read from disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_faults: Option<u64>,
}

impl RunSample {
    /// Prompt tokens per second of the time to the first token.
    pub fn prefill_rate(&self, prompt_tokens: u32) -> f64 {
        f64::from(prompt_tokens) * 1e3 / self.time_to_first_token_ms
    }

    /// Tokens after the first per second of the time they took; no number if there are none.
    pub fn decode_rate(&self) -> f64 {
        let between = &self.inter_token_latency_ms;
        between.len() as f64 * 1e3 / between.iter().sum::<f64>()
    }
}

/// Whether the machine was quiet enough to compare results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Noise {
    /// No reason was found to doubt the numbers.
    pub quiet: bool,
    /// Why not, in words.
    pub reasons: Vec<String>,
    /// Share of the machine's processor time that other processes took during the measured runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_cpu_share: Option<f64>,
    /// Share that the hypervisor gave to other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stolen_cpu_share: Option<f64>,
}

/// Version of the benchmark JSON.
pub const BENCH_SCHEMA: u32 = 1;
