//! Whether the machine was quiet enough for a benchmark to be compared with another.
//!
//! The load average at the start stands in the host's facts and is no criterion: it still holds
//! the steps that ran before. What others took while the runs ran is measured instead.

use super::Noise;
use crate::host::ClockRates;
use crate::host::rss::{Disturbance, Faults};
use crate::stats::Distribution;

/// Spread of the latencies (standard deviation over mean) above which a machine counts as noisy.
const SPREAD: f64 = 0.05;
/// Share of the processors that other processes may take.
const OTHERS: f64 = 0.05;
/// Share of the time that a hypervisor may give to other machines.
const STOLEN: f64 = 0.02;

/// Share by which the processors' clocks may differ between runs, or stay below what the processors
/// can keep up.
const CLOCK: f64 = 0.10;

/// Judges a benchmark by its latencies, by what others took, and by the faults and the processors'
/// clocks in its runs.
pub fn judge(
    latency_ms: &Distribution,
    disturbance: Option<Disturbance>,
    faults: Option<Faults>,
    clock_mhz: Option<ClockRates>,
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
    if let Some(clock) = clock_mhz {
        reasons.extend(clock_reason(clock));
    }
    Noise {
        quiet: reasons.is_empty(),
        reasons,
        other_cpu_share: disturbance.map(|d| d.others),
        stolen_cpu_share: disturbance.map(|d| d.stolen),
    }
}

/// What is wrong with the processors' clocks, if anything.
fn clock_reason(clock: ClockRates) -> Option<String> {
    let ClockRates { lowest, highest, sustained } = clock;
    let short = |of: f64| 1.0 - lowest / of;
    if short(highest) > CLOCK {
        return Some(format!(
            "the processors' clocks were between {lowest:.0} MHz and {highest:.0} MHz from run \
             to run (quiet: within {:.0}%)",
            CLOCK * 100.0
        ));
    }
    let sustained = sustained.filter(|s| short(*s) > CLOCK)?;
    Some(format!(
        "the processors ran at {lowest:.0} MHz, {:.0}% below the {sustained:.0} MHz that they can \
         keep up (quiet: up to {:.0}%)",
        short(sustained) * 100.0,
        CLOCK * 100.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_machine_has_no_reasons() {
        let latency = Distribution::of(&[100.0, 101.0, 99.5]).unwrap();
        let calm = Disturbance { others: 0.01, stolen: 0.0 };
        let clock = ClockRates { lowest: 3100.0, highest: 3200.0, sustained: Some(3000.0) };
        let noise = judge(&latency, Some(calm), Some(Faults { minor: 12, major: 0 }), Some(clock));
        assert!(noise.quiet && noise.reasons.is_empty());
        assert!(judge(&latency, None, None, None).quiet);
    }

    #[test]
    fn every_disturbance_is_a_reason() {
        let latency = Distribution::of(&[100.0, 150.0, 90.0]).unwrap();
        let busy = Disturbance { others: 0.31, stolen: 0.5 };
        let clock = ClockRates { lowest: 2600.0, highest: 3200.0, sustained: None };
        let noise = judge(&latency, Some(busy), Some(Faults { minor: 0, major: 3 }), Some(clock));
        assert!(!noise.quiet);
        assert_eq!(noise.reasons.len(), 5);
        assert!(
            noise.reasons[1].contains("31.0% of the processors' time (quiet: up to 5%)"),
            "{:?}",
            noise.reasons
        );
    }

    #[test]
    fn a_clock_below_what_can_be_kept_up_is_a_reason() {
        let reason =
            |lowest, highest, sustained| clock_reason(ClockRates { lowest, highest, sustained });
        assert_eq!(reason(2000.0, 2000.0, None), None);
        assert_eq!(reason(2800.0, 2900.0, Some(3000.0)), None);
        let throttled = reason(2000.0, 2100.0, Some(3000.0)).unwrap();
        assert!(throttled.contains("2000 MHz, 33% below the 3000 MHz"), "{throttled}");
        let falling = reason(2000.0, 3000.0, Some(3000.0)).unwrap();
        assert!(falling.contains("between 2000 MHz and 3000 MHz from run to run"), "{falling}");
    }
}
