//! Whether to keep the baseline or to take another format, from numbers alone. Pure: no files, no
//! clock, no chance.
//!
//! A format wins only if it is faster by more than the noise and not worse:
//! - the 95% bootstrap intervals of its median and of its p95 latency over the baseline's lie below
//!   1, and both gain more than the largest of: [`MIN_GAIN`]; the difference between two benchmarks
//!   of the same weights in this job, if there are any ([`Control`]); the share of the processors'
//!   time that others took during either benchmark;
//! - its mean KL divergence from the quality reference is within [`KL_RATIO`] times the baseline's
//!   plus [`KL_SLACK`], and its top-token agreement at most [`AGREEMENT_SLACK`] lower.
//!
//! Of several winners the one with the lowest p95 is taken.

#[cfg(test)]
mod tests;

use super::recommendation::{Advice, Assessment, Outcome, Recommendation};
use crate::stats::{Distribution, Ratio};

/// Least gain in latency that counts: two benchmarks of the same file, run one after the other on a
/// quiet machine, differ by up to about this much, which no interval from inside one of them shows.
pub const MIN_GAIN: f64 = 0.02;
/// Bound on a format's mean KL divergence, as a multiple of the baseline's.
pub const KL_RATIO: f64 = 1.1;
/// What is allowed on top of that, in nats per token, so that a baseline near zero does not forbid
/// everything.
pub const KL_SLACK: f64 = 0.0005;
/// Bound on the loss in top-token agreement: half a percentage point.
pub const AGREEMENT_SLACK: f64 = 0.005;

/// A format with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Contender {
    pub name: String,
    pub baseline: bool,
    /// Total latency of each run; `None` where there is no benchmark.
    pub latency_ms: Option<Vec<f64>>,
    /// Against the quality reference; `None` where it was not evaluated.
    pub quality: Option<Quality>,
    /// What failed, in words; empty where nothing did.
    pub failure: Option<String>,
    /// Why its benchmark is to be doubted; empty where the machine was quiet.
    pub noise: Vec<String>,
    /// Share of the processors' time that others took during its benchmark, 0 to 1.
    pub disturbance: f64,
}

/// Two benchmarks of the same weights: what they differ by is noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// The two files.
    pub names: [String; 2],
    /// The larger of the relative differences in median and in p95 latency, 0 to 1.
    pub difference: f64,
}

/// Distance from the quality reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Nats per token.
    pub kl_divergence: f64,
    /// 0 to 1.
    pub top_token_agreement: f64,
}

/// Judges `contenders`; `quality_reference` names what their quality was measured against.
pub fn recommend(
    contenders: &[Contender],
    quality_reference: Option<&str>,
    control: Option<&Control>,
) -> Recommendation {
    let Some(baseline) = contenders.iter().find(|c| c.baseline) else {
        return undecided("No recommendation: the job names no baseline.".to_owned());
    };
    let Some(latencies) = &baseline.latency_ms else {
        let why = baseline.failure.as_deref().unwrap_or("it was not benchmarked");
        return undecided(format!(
            "No recommendation: the baseline {} has no benchmark to hold the others against ({why}).",
            baseline.name
        ));
    };
    let judgements: Vec<Assessment> = contenders
        .iter()
        .filter(|c| !c.baseline)
        .map(|c| judge(c, baseline, latencies, quality_reference, control))
        .collect();
    let winner = judgements
        .iter()
        .filter(|j| j.outcome == Outcome::Wins)
        .min_by(|a, b| p95_ratio(a).total_cmp(&p95_ratio(b)));
    let (verdict, format, reason) = match winner {
        Some(winner) => {
            let reason = format!("Take {}: {}", winner.format, winner.reason);
            (Advice::Take, &winner.format, reason)
        }
        None => (Advice::Keep, &baseline.name, keep_reason(&baseline.name, &judgements)),
    };
    let (format, judgements) = (Some(format.clone()), judgements.clone());
    Recommendation { verdict, format, reason, judgements, cautions: cautions(contenders) }
}

fn undecided(reason: String) -> Recommendation {
    let (judgements, cautions) = (Vec::new(), Vec::new());
    Recommendation { verdict: Advice::Undecided, format: None, reason, judgements, cautions }
}

/// p95 latency over the baseline's; infinite where it is not known.
fn p95_ratio(judgement: &Assessment) -> f64 {
    judgement.p95_latency_ratio.map_or(f64::INFINITY, |r| r.ratio)
}

/// The sentence for "keep": the most telling of the reasons.
fn keep_reason(baseline: &str, judgements: &[Assessment]) -> String {
    let closest = [
        Outcome::FasterButWorse,
        Outcome::FasterQualityUnknown,
        Outcome::WithinNoise,
        Outcome::Slower,
        Outcome::NotMeasured,
        Outcome::Failed,
    ]
    .iter()
    .find_map(|outcome| {
        judgements
            .iter()
            .filter(|j| j.outcome == *outcome)
            .min_by(|a, b| p95_ratio(a).total_cmp(&p95_ratio(b)))
    });
    match closest {
        None => format!("Keep {baseline}: the job has no other format."),
        Some(j) if judgements.len() == 1 => format!("Keep {baseline}. {}: {}", j.format, j.reason),
        Some(j) => {
            let measured = judgements.iter().filter(|j| j.p50_latency_ratio.is_some()).count();
            let others = match judgements.len() - measured {
                0 => format!("{measured} other formats"),
                missing => format!("{measured} other formats that were measured ({missing} not)"),
            };
            format!(
                "Keep {baseline}: none of the {others} is faster by more than the noise and as \
                good. The closest, {}: {}",
                j.format, j.reason
            )
        }
    }
}

fn cautions(contenders: &[Contender]) -> Vec<String> {
    contenders
        .iter()
        .flat_map(|c| c.noise.iter().map(move |reason| format!("{}: {reason}", c.name)))
        .collect()
}

fn judge(
    contender: &Contender,
    baseline: &Contender,
    baseline_ms: &[f64],
    quality_reference: Option<&str>,
    control: Option<&Control>,
) -> Assessment {
    let (required_gain, because) = required_gain(contender, baseline, control);
    let mut judgement = Assessment {
        format: contender.name.clone(),
        outcome: Outcome::NotMeasured,
        reason: "it was not benchmarked.".to_owned(),
        p50_latency_ratio: None,
        p95_latency_ratio: None,
        required_gain,
    };
    let ratios = contender.latency_ms.as_deref().and_then(|ms| {
        Some((Ratio::of(ms, baseline_ms, 0.50)?, Ratio::of(ms, baseline_ms, 0.95)?))
    });
    let Some((p50, p95)) = ratios else {
        if let Some(failure) = &contender.failure {
            judgement.outcome = Outcome::Failed;
            judgement.reason = format!("it failed: {}.", one_line(failure));
        }
        return judgement;
    };
    judgement.p50_latency_ratio = Some(p50);
    judgement.p95_latency_ratio = Some(p95);
    let (outcome, reason) = match speed(&p50, &p95, required_gain) {
        Speed::Slower => (Outcome::Slower, "slower.".to_owned()),
        Speed::WithinNoise if p50.low > 1.0 => (
            Outcome::WithinNoise,
            format!("slower here, but by less than the {:.1}% {because}.", required_gain * 100.0),
        ),
        Speed::WithinNoise => (Outcome::WithinNoise, "the difference is within the noise.".into()),
        Speed::TooSmall => (
            Outcome::WithinNoise,
            format!(
                "within the noise: the gain is under the {:.1}% {because}.",
                required_gain * 100.0
            ),
        ),
        Speed::Faster => quality(contender.quality, baseline.quality, quality_reference),
    };
    let failed = contender.failure.as_ref().map(|f| format!(" (Failed: {}.)", one_line(f)));
    judgement.outcome = outcome;
    let milliseconds = |ms: Option<&[f64]>| ms.and_then(Distribution::of);
    if let (Some(mine), Some(theirs)) =
        (milliseconds(contender.latency_ms.as_deref()), milliseconds(Some(baseline_ms)))
    {
        judgement.reason = format!(
            "p95 latency {:.2} ms against {:.2} ms of {}, {}; median {:.2} ms against {:.2} ms, {}; \
            {reason}{}",
            mine.p95,
            theirs.p95,
            baseline.name,
            shown(&p95),
            mine.p50,
            theirs.p50,
            shown(&p50),
            failed.unwrap_or_default(),
        );
    }
    judgement
}

/// A failure's message on one line, without its full stop.
fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    lines.join(" ").trim_end_matches('.').to_owned()
}

enum Speed {
    Faster,
    TooSmall,
    WithinNoise,
    Slower,
}

/// The gain below which a difference counts as noise, and what the number is.
fn required_gain(
    contender: &Contender,
    baseline: &Contender,
    control: Option<&Control>,
) -> (f64, String) {
    let disturbance = contender.disturbance.max(baseline.disturbance);
    let mut required =
        (MIN_GAIN, "that two benchmarks of one file can differ by on a quiet machine".to_owned());
    if disturbance > required.0 {
        required = (disturbance, "of the processors' time that others took meanwhile".to_owned());
    }
    if let Some(Control { names: [a, b], difference }) = control
        && *difference > required.0
    {
        required =
            (*difference, format!("by which {a} and {b} differ, which hold the same weights"));
    }
    required
}

/// The median and the p95 must agree that a format is faster; the median alone says slower.
fn speed(p50: &Ratio, p95: &Ratio, required_gain: f64) -> Speed {
    if p50.low > 1.0 && p50.ratio > 1.0 + required_gain {
        Speed::Slower
    } else if p50.high >= 1.0 || p95.high >= 1.0 {
        Speed::WithinNoise
    } else if p50.ratio > 1.0 - required_gain || p95.ratio > 1.0 - required_gain {
        Speed::TooSmall
    } else {
        Speed::Faster
    }
}

/// What becomes of a format that is faster.
fn quality(
    found: Option<Quality>,
    baseline: Option<Quality>,
    reference: Option<&str>,
) -> (Outcome, String) {
    let (Some(found), Some(baseline), Some(reference)) = (found, baseline, reference) else {
        return (
            Outcome::FasterQualityUnknown,
            "its quality is not known: without an evaluation of both it cannot be taken."
                .to_owned(),
        );
    };
    let kl_bound = KL_RATIO * baseline.kl_divergence + KL_SLACK;
    let agreement_bound = baseline.top_token_agreement - AGREEMENT_SLACK;
    let numbers = format!(
        "mean KL divergence from {reference} is {:.5} against {:.5} (bound {kl_bound:.5}), top-token \
        agreement {:.2}% against {:.2}% (bound {:.2}%)",
        found.kl_divergence,
        baseline.kl_divergence,
        found.top_token_agreement * 100.0,
        baseline.top_token_agreement * 100.0,
        agreement_bound * 100.0,
    );
    // Written so that NaN is worse, not better.
    let good = found.kl_divergence <= kl_bound && found.top_token_agreement >= agreement_bound;
    if good {
        (Outcome::Wins, format!("{numbers}."))
    } else {
        (Outcome::FasterButWorse, format!("{numbers}: worse than the bound allows."))
    }
}

/// `0.842 times (95% interval 0.831 to 0.853)`.
fn shown(ratio: &Ratio) -> String {
    format!("{:.3} times (95% interval {:.3} to {:.3})", ratio.ratio, ratio.low, ratio.high)
}
