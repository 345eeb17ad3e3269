//! The benchmark JSON: all results of a job, or those of `qrun bench`.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::{Candidate, Input};
use super::recommend::Recommendation;
use crate::files::FileDigest;
use crate::metrics::Ratio;
use crate::metrics::host::HostFacts;
use crate::steps::bench::BENCH_SCHEMA;
use crate::steps::context::{from_here, rfc3339};
use crate::steps::publish::{Passed, passed};
use crate::steps::{
    BenchResult, CompareResult, InputFile, MadeAt, Measurements, SpecialTokens, StepError,
};

/// Of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why a format is not published of which only the recommended one is.
pub const NOT_RECOMMENDED: &str = "it is not recommended";

/// The benchmark JSON, `schemas/bench.schema.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

impl PartResult {
    fn of(file: &FileDigest) -> Self {
        let FileDigest { path, bytes, sha256 } = file.clone();
        Self { gguf: path, bytes, sha256 }
    }
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

    /// The output of `qrun bench`.
    pub fn of_files(results: Vec<BenchResult>) -> Self {
        let results = results.into_iter().map(|b| FileResult::default().with_bench(b)).collect();
        Self {
            schema: BENCH_SCHEMA,
            qrun_version: VERSION.to_owned(),
            created: rfc3339(jiff::Timestamp::now()),
            job: None,
            command: None,
            made_from: Vec::new(),
            publish: None,
            host: None,
            results,
            references: Vec::new(),
            missing_references: BTreeMap::new(),
            warnings: BTreeMap::new(),
            comparisons: Vec::new(),
            recommendation: None,
        }
    }

    /// All results of a job.
    pub(super) fn of_job(
        input: &Input<'_>,
        host: &HostFacts,
        recommendation: &Recommendation,
        now: jiff::Timestamp,
    ) -> Result<Self, StepError> {
        let references = input.references.iter().map(|r| {
            let entry = FileResult {
                name: Some(r.name.to_owned()),
                role: Some(Role::Reference),
                gguf: Some(r.gguf.clone()),
                sha256: r.sha256.clone(),
                made: r.made.clone(),
                ..FileResult::default()
            };
            match &r.bench {
                Some(bench) => entry.with_bench(bench.clone()),
                None => entry,
            }
        });
        Ok(Self {
            schema: BENCH_SCHEMA,
            qrun_version: input.spec.qrun_version.clone(),
            created: rfc3339(now),
            job: Some(input.spec.job.clone()),
            command: Some(input.spec.command.clone()),
            made_from: input.made_from.clone(),
            publish: input.publishing(recommendation)?,
            host: Some(host.clone()),
            results: input.candidates.iter().map(FileResult::of_candidate).collect(),
            references: references.collect(),
            missing_references: input.missing_references.clone(),
            warnings: input.warnings.clone(),
            comparisons: input.candidates.iter().flat_map(|c| comparisons(c, input)).collect(),
            recommendation: Some(recommendation.clone()),
        })
    }
}

impl Input<'_> {
    /// What is published, now that it is known what is recommended, the directory named from the
    /// workspace.
    fn publishing(&self, recommendation: &Recommendation) -> Result<Option<Publishing>, StepError> {
        let Some(publish) = &self.spec.publish else { return Ok(None) };
        let (mut formats, mut left_out) = (Vec::new(), BTreeMap::new());
        for candidate in self.spec.candidates.iter().filter(|c| publish.formats.contains(&c.name)) {
            let name = &candidate.name;
            let steps = candidate.steps().map(|ended| (ended.step.as_str(), ended.how()));
            let made = candidate.quantize.result.is_some();
            if publish.if_recommended.contains(name) && recommendation.format.as_ref() != Some(name)
            {
                left_out.insert(name.clone(), NOT_RECOMMENDED.to_owned());
            } else if let Passed::No(why) = passed(steps, made, publish.failed_too) {
                left_out.insert(name.clone(), why);
            } else {
                formats.push(name.clone());
            }
        }
        Ok(Some(Publishing { to: from_here(&publish.to)?.to_owned(), formats, left_out }))
    }
}

impl FileResult {
    fn with_bench(self, bench: BenchResult) -> Self {
        Self {
            gguf: Some(bench.gguf),
            bytes: Some(bench.bytes),
            bits_per_weight: Some(bench.bits_per_weight),
            measured: Some(bench.measured),
            ..self
        }
    }

    fn of_candidate(candidate: &Candidate<'_>) -> Self {
        let role = if candidate.baseline { Role::Baseline } else { Role::Candidate };
        let mut entry = Self {
            name: Some(candidate.name.to_owned()),
            base: Some(candidate.format.base.clone()),
            role: Some(role),
            evaluated_tokens: candidate.evaluation.as_ref().map(|e| e.tokens),
            special_tokens: candidate.evaluation.as_ref().and_then(|e| e.special_tokens),
            perplexity: candidate.evaluation.as_ref().map(|e| e.perplexity),
            made: candidate.made.clone(),
            loads: candidate.loads(),
            failures: candidate.failures.clone(),
            ..Self::default()
        };
        if let Some(bench) = &candidate.bench {
            entry = entry.with_bench(bench.clone());
        }
        if let Some(written) = &candidate.written {
            entry.gguf = Some(written.output.path.clone());
            entry.bytes = Some(written.bytes());
            match written.parts.as_slice() {
                [] => entry.sha256 = Some(written.output.sha256.clone()),
                parts => entry.parts = parts.iter().map(PartResult::of).collect(),
            }
            entry.bits_per_weight = Some(written.bits_per_weight);
            for tensor in &written.tensors {
                *entry.types.entry(tensor.ggml_type.to_string()).or_default() += 1;
            }
        }
        entry
    }
}

/// `candidate` against every reference that something is known of.
fn comparisons(candidate: &Candidate<'_>, input: &Input<'_>) -> Vec<Comparison> {
    let evaluated = candidate.evaluation.as_ref().map(|e| &e.references);
    let mut names: Vec<&str> = input.references.iter().map(|r| r.name).collect();
    let others = candidate
        .comparisons
        .keys()
        .copied()
        .chain(evaluated.into_iter().flatten().map(|(name, _)| name.as_str()));
    for name in others {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mine = candidate.bench.as_ref().map(|b| &b.measured);
    names
        .into_iter()
        .map(|name| {
            let distance = evaluated.and_then(|e| e.get(name));
            let reference = input.references.iter().find(|r| r.name == name);
            let theirs = reference.and_then(|r| r.bench.as_ref()).map(|b| &b.measured);
            let both = mine.zip(theirs);
            Comparison {
                name: candidate.name.to_owned(),
                reference: name.to_owned(),
                kl_divergence: distance.map(|d| d.kl_divergence.mean),
                top_token_agreement: distance.map(|d| d.top_token_agreement),
                p50_latency_ratio: both.and_then(|(a, b)| a.latency_ratio(b, 0.50)),
                p95_latency_ratio: both.and_then(|(a, b)| a.latency_ratio(b, 0.95)),
                peak_rss_ratio: both.and_then(|(a, b)| Some(a.peak_rss_mb? / b.peak_rss_mb?)),
                compared: candidate.comparisons.get(name).cloned(),
            }
        })
        .filter(|c| {
            c.kl_divergence.is_some() || c.compared.is_some() || c.p50_latency_ratio.is_some()
        })
        .collect()
}

/// The name a path has without its directories.
pub(super) fn file_name(path: &Utf8Path) -> &str {
    path.file_name().unwrap_or(path.as_str())
}
