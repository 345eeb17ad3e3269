//! A judged plan in the forms that people and programs read.

mod graphs;
mod text;

use camino::Utf8PathBuf;
use serde::Serialize;

pub use graphs::{dot, mermaid};
pub use text::{about, duration, size, text};

use super::demand::{Demand, StepDemand};
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
    #[serde(flatten)]
    pub demand: StepDemand,
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
                StepView {
                    step: id(step),
                    verdict: judgements[step].verdict.clone(),
                    why: why(&judgements[step].verdict),
                    needs: needs.iter().map(|(from, _)| id(*from)).collect(),
                    after: needs.iter().filter(|(f, _)| runs(*f)).map(|(f, _)| id(*f)).collect(),
                    writes: plan.destination(graph.node(step)).map(|(_, path)| path),
                    demand: demand.steps[step].clone(),
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
