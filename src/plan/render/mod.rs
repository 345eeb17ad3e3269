//! A judged plan in the forms that people and programs read.

mod graphs;
mod text;

use camino::Utf8PathBuf;
use serde::Serialize;

pub use graphs::{dot, mermaid};
pub use text::{about, duration, size, text};

use super::demand::Demand;
use super::matrices::Matrix;
use super::{Judgement, Plan, Verdict};
use crate::steps::StepError;

/// A judged plan, ready to be shown.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    pub job: String,
    pub manifest: Utf8PathBuf,
    /// Steps that run, or may have to.
    pub to_run: usize,
    pub steps: Vec<StepView>,
    /// The importance matrices that weigh columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imatrices: Vec<Matrix>,
    /// References that are not required and not there.
    pub missing_references: Vec<String>,
    /// What accepting the inputs would change in the lock, file by file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<String>,
    #[serde(flatten)]
    pub demand: Demand,
}

/// One step of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    pub step: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The reasons in words.
    pub why: Vec<String>,
    /// The steps that it uses.
    pub needs: Vec<String>,
    /// Of those, the ones that run first or may have to.
    pub after: Vec<String>,
    /// The model file that it writes, `{timestamp}` not filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes: Option<String>,
    /// Exact, from the headers; absent where they cannot be read yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u64>,
    /// Memory that it should find: the files that it maps and its buffers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram_bytes: Option<u64>,
    /// How long its last success took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_duration_ms: Option<i64>,
    /// About how long it will take, where it runs and never did: from sizes and a short trial of this
    /// machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_duration_ms: Option<i64>,
    /// Publish shares the blocks of files instead of copying them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reflinks: bool,
    /// What it will warn of, as far as headers tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// It waits to be judged, and will most likely be found to hold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_hold: bool,
}

impl View {
    /// Puts together what is shown of `plan`, which was judged as `judgements` say.
    ///
    /// # Errors
    /// If a file of the checkpoint cannot be looked at.
    pub fn new(plan: &Plan, judgements: &[Judgement], demand: Demand) -> Result<Self, StepError> {
        let graph = plan.graph();
        let id = |step: usize| graph.node(step).id.clone();
        let runs = |step: usize| judgements[step].verdict != Verdict::Fresh;
        let steps: Vec<StepView> = (0..graph.len())
            .map(|step| {
                let needs = graph.needs(step);
                let own = &demand.steps[step];
                StepView {
                    step: id(step),
                    verdict: judgements[step].verdict.clone(),
                    why: why(&judgements[step].verdict),
                    needs: needs.iter().map(|(from, _)| id(*from)).collect(),
                    after: needs.iter().filter(|(f, _)| runs(*f)).map(|(f, _)| id(*f)).collect(),
                    writes: plan.destination(graph.node(step)).map(|(_, path)| path),
                    write_bytes: own.write_bytes,
                    ram_bytes: own.ram_bytes,
                    last_duration_ms: own.last_duration_ms,
                    estimated_duration_ms: own.estimated_duration_ms,
                    reflinks: own.reflinks,
                    warnings: own.warnings.clone(),
                    may_hold: own.may_hold,
                }
            })
            .collect();
        Ok(Self {
            job: plan.job.name.clone(),
            manifest: plan.job.manifest.clone(),
            to_run: (0..graph.len()).filter(|step| runs(*step)).count(),
            steps,
            imatrices: plan.matrices()?,
            missing_references: plan
                .missing_references()
                .iter()
                .map(|(name, gguf)| format!("{name} ({gguf})"))
                .collect(),
            accepted: plan.accepted()?,
            demand,
        })
    }
}

/// The reasons of a verdict in words.
pub fn why(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Fresh => Vec::new(),
        Verdict::Stale { reasons } => reasons.iter().map(ToString::to_string).collect(),
        Verdict::WaitsFor { steps } => vec![format!("waits for {}", steps.join(", "))],
        Verdict::Blocked { problems } => problems.clone(),
    }
}
