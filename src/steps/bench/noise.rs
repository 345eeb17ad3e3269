//! Whether the machine was quiet enough for a benchmark to be compared with another.
//!
//! The load average at the start stands in the host's facts and is no criterion: it still holds
//! the steps that ran before. What others took while the runs ran is measured instead.

use super::Noise;
use crate::metrics::Distribution;
use crate::metrics::rss::{Disturbance, Faults};

/// Spread of the latencies (standard deviation over mean) above which a machine counts as noisy.
const SPREAD: f64 = 0.05;
/// Share of the processors that other processes may take.
const OTHERS: f64 = 0.05;
/// Share of the time that a hypervisor may give to other machines.
const STOLEN: f64 = 0.02;

/// Judges a benchmark by its latencies, by what others took, and by the faults in its runs.
pub fn judge(
    latency_ms: &Distribution,
    disturbance: Option<Disturbance>,
    faults: Option<Faults>,
) -> Noise {
    let mut reasons = Vec::new();
    let mut hold = |value: f64, limit: f64, who: &str, of: &str| {
        if value > limit {
            let (value, limit) = (value * 100.0, limit * 100.0);
            reasons.push(format!("{who} {value:.1}% of {of} (quiet: up to {limit:.0}%)"));
        }
    };
    let spread = latency_ms.coefficient_of_variation().unwrap_or(0.0);
    hold(spread, SPREAD, "the latencies' standard deviation is", "their mean");
    if let Some(d) = disturbance {
        hold(d.others, OTHERS, "other processes used", "the processors' time");
        hold(d.stolen, STOLEN, "the hypervisor withheld", "the processors' time");
    }
    if let Some(faults) = faults.filter(|f| f.major > 0) {
        reasons.push(format!(
            "{} page faults read from the disk during the measured runs: the file was not in memory",
            faults.major
        ));
    }
    Noise {
        quiet: reasons.is_empty(),
        reasons,
        other_cpu_share: disturbance.map(|d| d.others),
        stolen_cpu_share: disturbance.map(|d| d.stolen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_machine_has_no_reasons() {
        let latency = Distribution::of(&[100.0, 101.0, 99.5]).unwrap();
        let calm = Disturbance { others: 0.01, stolen: 0.0 };
        let noise = judge(&latency, Some(calm), Some(Faults { minor: 12, major: 0 }));
        assert!(noise.quiet && noise.reasons.is_empty());
        assert!(judge(&latency, None, None).quiet);
    }

    #[test]
    fn every_disturbance_is_a_reason() {
        let latency = Distribution::of(&[100.0, 150.0, 90.0]).unwrap();
        let busy = Disturbance { others: 0.31, stolen: 0.5 };
        let noise = judge(&latency, Some(busy), Some(Faults { minor: 0, major: 3 }));
        assert!(!noise.quiet);
        assert_eq!(noise.reasons.len(), 4);
        assert!(
            noise.reasons[1].contains("31.0% of the processors' time (quiet: up to 5%)"),
            "{:?}",
            noise.reasons
        );
    }
}
