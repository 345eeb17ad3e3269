//! The report: the benchmark JSON, the Markdown with its recommendation, and one log per format,
//! from the results of other steps. Runs nothing and measures nothing itself.

mod assemble;
mod document;
mod logs;
mod markdown;
mod recommend;
mod recommendation;
mod results;
mod spec;
mod table;

#[cfg(test)]
mod tests;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::{Context, ErrorClass, Level, StepError};
use crate::files::{FileDigest, write_atomic};
use crate::host::HostFacts;
use results::Results;

pub use assemble::NOT_RECOMMENDED;
pub use document::{BenchDocument, Comparison, FileResult, Publishing, Role};
pub use recommendation::{Advice, Assessment, Outcome, Recommendation};
pub use spec::{
    InputFile, MadeAt, MadeFrom, ReportCandidate, ReportPublish, ReportReference, ReportSpec,
};

/// Result of [`ReportSpec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportResult {
    /// `README-<job>.md`.
    pub markdown: FileDigest,
    /// The benchmark JSON, and its copy beside the report.
    pub json: Vec<FileDigest>,
    /// One per format that has logs.
    pub logs: Vec<FileDigest>,
    pub recommendation: Recommendation,
}

/// Writes everything. Reports that are there already are replaced.
///
/// # Errors
/// [`ErrorClass::Step`] if a result is not of its step's type; [`ErrorClass::Host`] if a file
/// cannot be written.
pub fn run(spec: &ReportSpec, ctx: &Context<'_>) -> Result<ReportResult, StepError> {
    run_at(spec, ctx, jiff::Timestamp::now())
}

/// [`run`] at another time.
fn run_at(
    spec: &ReportSpec,
    ctx: &Context<'_>,
    now: jiff::Timestamp,
) -> Result<ReportResult, StepError> {
    let input = Results::parse(spec)?;
    let recommendation = recommend::recommend(
        &input.contenders(),
        input.quality_reference.as_deref(),
        input.control().as_ref(),
    );
    let host = measured_host(&input).unwrap_or_else(HostFacts::gather);
    let document = BenchDocument::of_job(&input, &host, &recommendation, now)?;
    let text = markdown::render(&input, &document, &host);

    let json = write_json(spec, &document)?;
    let logs = logs::write(spec, ctx)?;
    let place = spec.dir.join(format!("README-{}.md", spec.job));
    let markdown = write_atomic(&place, text.as_bytes(), true)?;
    ctx.log(Level::Info, recommendation.reason.clone());
    Ok(ReportResult { markdown, json, logs, recommendation })
}

/// The machine of the first benchmark; `None` if there is none.
fn measured_host(input: &Results<'_>) -> Option<HostFacts> {
    let candidates = input.candidates.iter().filter_map(|c| c.bench.as_ref());
    let references = input.references.iter().filter_map(|r| r.bench.as_ref());
    candidates.chain(references).next().map(|b| b.measured.host.clone())
}

/// Writes the JSON to where the job wants it, and beside the report.
fn write_json(spec: &ReportSpec, document: &BenchDocument) -> Result<Vec<FileDigest>, StepError> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|e| StepError::from_error(ErrorClass::Step, &e))?;
    text.push('\n');
    let copy = spec.dir.join(assemble::file_name(&spec.bench_json));
    let mut places: Vec<&Utf8Path> = vec![&spec.bench_json];
    if copy != *spec.bench_json {
        places.push(&copy);
    }
    places.into_iter().map(|place| Ok(write_atomic(place, text.as_bytes(), true)?)).collect()
}
