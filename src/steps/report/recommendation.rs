//! A recommendation as it stands in the JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::Ratio;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Verdict")]
pub enum Advice {
    /// Keep the baseline.
    Keep,
    /// Take another format.
    Take,
    /// Nothing can be said.
    Undecided,
}

/// The recommendation with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recommendation {
    pub verdict: Advice,
    /// The format to use; absent when nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// One sentence, with the numbers that decide.
    pub reason: String,
    /// Every format that is not the baseline.
    pub judgements: Vec<Assessment>,
    /// What to bear in mind.
    pub cautions: Vec<String>,
}

/// What became of one format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Judgement")]
pub struct Assessment {
    pub format: String,
    pub outcome: Outcome,
    /// One sentence, with the numbers that decide.
    pub reason: String,
    /// Median latency over the baseline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_latency_ratio: Option<Ratio>,
    /// p95 latency over the baseline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_latency_ratio: Option<Ratio>,
    /// Gain in both, 0 to 1, below which a difference counts as noise.
    pub required_gain: f64,
}

/// What became of a format, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Faster by more than the noise and not worse.
    Wins,
    /// Faster by more than the noise, and worse than the bound allows.
    FasterButWorse,
    /// Faster by more than the noise, and its quality is not known.
    FasterQualityUnknown,
    /// No difference beyond the noise, or too small a gain to act on.
    WithinNoise,
    /// Slower by more than the noise.
    Slower,
    /// Some step of it failed.
    Failed,
    /// It was not benchmarked.
    NotMeasured,
}
