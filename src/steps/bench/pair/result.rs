//! What a benchmark of two files in turns finds out, as it stands in the JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::order::PairOrder;
use crate::stats::PairedRatio;
use crate::stats::paired::{Difference, FEWEST_PAIRS};
use crate::steps::BenchResult;

/// The JSON of `qrun bench --compare`, `schemas/bench_pair.schema.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchPairResult {
    /// Version of this layout: 1.
    pub schema: u32,
    /// The first file, A.
    pub a: BenchResult,
    /// The second file, B.
    pub b: BenchResult,
    /// Decided the order.
    pub seed: u64,
    /// Of each pair of runs.
    pub order: Vec<PairOrder>,
    /// Whether the machine was quiet in the runs of both.
    pub quiet: bool,
    /// Prompt tokens per second, B over A.
    pub prefill: PairComparison,
    /// Generated tokens per second, B over A; absent when one token is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<PairComparison>,
    /// Latency of a whole run, B over A.
    pub latency: PairComparison,
}

/// B over A in one respect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairComparison {
    #[serde(flatten)]
    pub ratio: PairedRatio,
    /// What it says, in words.
    pub verdict: String,
}

/// Words for a respect.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// As in `B decodes`.
    pub does: &'static str,
    /// As in `1.23 times as fast`.
    pub times_as: &'static str,
}

pub const PREFILL: Words = Words { does: "reads a prompt", times_as: "fast" };
pub const DECODE: Words = Words { does: "decodes", times_as: "fast" };
pub const LATENCY: Words = Words { does: "takes", times_as: "long" };

impl PairComparison {
    /// Puts a ratio into words.
    pub fn new(ratio: PairedRatio, words: Words) -> Self {
        let Words { does, times_as } = words;
        let value = ratio.ratio;
        let interval = match (ratio.low, ratio.high) {
            (Some(low), Some(high)) => format!("95% CI {low:.3} to {high:.3}"),
            _ => format!("no interval: {} runs, {FEWEST_PAIRS} or more are needed", ratio.pairs),
        };
        let verdict = match ratio.difference() {
            Difference::Unknown => format!(
                "no difference can be told: B {does} {value:.3} times as {times_as} as A ({interval})"
            ),
            Difference::More | Difference::Less => {
                format!("B {does} {value:.3} times as {times_as} as A ({interval})")
            }
        };
        Self { ratio, verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pairs: &[(f64, f64)]) -> String {
        PairComparison::new(PairedRatio::of(pairs).unwrap(), DECODE).verdict
    }

    #[test]
    fn a_verdict_says_what_can_be_told() {
        let faster: Vec<(f64, f64)> = (0..10).map(|i| (10.0, 12.3 + 0.1 * f64::from(i))).collect();
        let text = verdict(&faster);
        assert!(text.starts_with("B decodes 1.275 times as fast as A (95% CI 1.2"), "{text}");
        let text = verdict(&[(1.0, 1.0); 8]);
        assert_eq!(
            text,
            "no difference can be told: B decodes 1.000 times as fast as A (95% CI 1.000 to 1.000)"
        );
        let text = verdict(&faster[..3]);
        assert!(text.ends_with("(no interval: 3 runs, 6 or more are needed)"), "{text}");
    }
}
