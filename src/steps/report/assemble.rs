//! The benchmark JSON put together: from the results of a job, or of `qrun bench`.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::document::{BenchDocument, Comparison, FileResult, PartResult, Publishing, Role};
use super::recommendation::Recommendation;
use super::results::{Candidate, Results};
use crate::files::FileDigest;
use crate::host::HostFacts;
use crate::steps::bench::BENCH_SCHEMA;
use crate::steps::context::{from_here, rfc3339};
use crate::steps::publish::{Passed, passed};
use crate::steps::{BenchResult, StepError};

/// Why a format is not published of which only the recommended one is.
pub const NOT_RECOMMENDED: &str = "it is not recommended";

impl BenchDocument {
    /// The output of `qrun bench`.
    pub fn of_files(results: Vec<BenchResult>) -> Self {
        let results = results.into_iter().map(|b| FileResult::default().with_bench(b)).collect();
        Self {
            schema: BENCH_SCHEMA,
            qrun_version: env!("CARGO_PKG_VERSION").to_owned(),
            created: rfc3339(jiff::Timestamp::now()),
            results,
            ..Self::default()
        }
    }

    /// All results of a job.
    pub(super) fn of_job(
        input: &Results<'_>,
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

impl Results<'_> {
    /// What is published, now that it is known what is recommended, the directory named from the
    /// workspace.
    fn publishing(&self, recommendation: &Recommendation) -> Result<Option<Publishing>, StepError> {
        let Some(publish) = &self.spec.publish else { return Ok(None) };
        let (mut formats, mut left_out) = (Vec::new(), BTreeMap::new());
        for candidate in self.spec.candidates.iter().filter(|c| publish.formats.contains(&c.name)) {
            let name = &candidate.name;
            let steps = candidate.steps().map(|ended| (ended.step.as_str(), ended.ending()));
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
fn comparisons(candidate: &Candidate<'_>, input: &Results<'_>) -> Vec<Comparison> {
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

impl PartResult {
    fn of(file: &FileDigest) -> Self {
        let FileDigest { path, bytes, sha256 } = file.clone();
        Self { gguf: path, bytes, sha256 }
    }
}

/// The name a path has without its directories.
pub(super) fn file_name(path: &Utf8Path) -> &str {
    path.file_name().unwrap_or(path.as_str())
}
