//! The benchmark JSON: all results of a job, or those of `qrun bench`.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::recommendation::Recommendation;
use crate::host::HostFacts;
use crate::stats::Ratio;
use crate::steps::{CompareResult, InputFile, MadeAt, Measurements, SpecialTokens};

/// The benchmark JSON, `schemas/bench.schema.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchDocument {
    /// Version of this layout: 1.
    pub schema: u32,
    /// Version of the qrun that wrote this.
    #[serde(default)]
    pub qrun_version: String,
    /// When this was written, in UTC, as RFC 3339 has it.
    #[serde(default)]
    pub created: String,
    /// The job's name; absent in the output of `qrun bench`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The command that led to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The manifest, and the files that the job read and did not make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_from: Vec<InputFile>,
    /// What the job publishes; absent where it publishes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publishing>,
    /// The machine that the results are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostFacts>,
    /// One object per file.
    pub results: Vec<FileResult>,
    /// The files that the results are held against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<FileResult>,
    /// References that are not required and not there: name to path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub missing_references: BTreeMap<String, Utf8PathBuf>,
    /// Step to what it warned of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warnings: BTreeMap<String, Vec<String>>,
    /// Each candidate against each reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparison>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<Recommendation>,
}

/// What a job publishes once its report is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Publishing {
    /// The directory.
    #[schemars(with = "String")]
    pub to: Utf8PathBuf,
    /// Names of the formats.
    pub formats: Vec<String>,
    /// Format to the reason why nothing of it is published.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
}

/// One of the files that a model is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartResult {
    #[schemars(with = "String")]
    pub gguf: Utf8PathBuf,
    pub bytes: u64,
    /// Of the file, in lower-case hexadecimal.
    pub sha256: String,
}

/// One file with what is known of it. Without the measurements it was not benchmarked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileResult {
    /// The format's or the reference's name; absent in the output of `qrun bench`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The mix that the format starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// `baseline`, `candidate` or `reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The file; absent if it was not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub gguf: Option<Utf8PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of the whole file, in lower-case hexadecimal; absent where it is in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The files that it is in, where it is in parts; `gguf` is the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartResult>,
    /// When the job made it; absent for a file that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<MadeAt>,
    /// Bits of tensor data per weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_weight: Option<f64>,
    /// Tensors per type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, usize>,
    /// Tokens of the job's corpus that it was evaluated over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluated_tokens: Option<u64>,
    /// How that corpus's special tokens were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub special_tokens: Option<SpecialTokens>,
    /// Perplexity over the job's corpus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Whether the load check passed; absent if it did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loads: Option<bool>,
    /// Step to message, for steps that failed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, String>,
    #[serde(flatten)]
    pub measured: Option<Measurements>,
}

/// What a file is in its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Baseline,
    Candidate,
    Reference,
}

/// A candidate against a reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    pub name: String,
    pub reference: String,
    /// Mean KL divergence of the candidate from the reference over the corpus, in nats per token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_divergence: Option<f64>,
    /// Share of the corpus's tokens where both find the same token the most likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_token_agreement: Option<f64>,
    /// Median latency over the reference's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_latency_ratio: Option<Ratio>,
    /// p95 latency over the reference's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_latency_ratio: Option<Ratio>,
    /// Peak RSS over the reference's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_ratio: Option<f64>,
    /// Size, types, tensor-wise error, greedy agreement; absent if that step did not run.
    #[serde(flatten)]
    pub compared: Option<CompareResult>,
}

impl BenchDocument {
    /// The JSON schema, `schemas/bench.schema.json`.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}
