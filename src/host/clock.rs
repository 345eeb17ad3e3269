//! How fast the processors' clocks run. A system that does not tell gives `None`.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bandwidth::entries;

/// Where the kernel describes processors.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Clock rates in MHz, of as many of the fastest processors as there were threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClockRates {
    /// At the end of the run with the lowest rate.
    pub lowest: f64,
    /// At the end of the run with the highest rate.
    pub highest: f64,
    /// What the processors can keep up with all cores busy: their base rate, or their highest where
    /// the system knows no base; absent where it knows neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sustained: Option<f64>,
}

impl ClockRates {
    /// Of the rates at the end of each run; `None` without any.
    pub fn of(rates: &[f64], sustained: Option<f64>) -> Option<Self> {
        let lowest = rates.iter().copied().reduce(f64::min)?;
        let highest = rates.iter().copied().reduce(f64::max)?;
        Some(Self { lowest, highest, sustained })
    }
}

/// The mean rate now, in MHz, of the `threads` fastest processors: the others may be asleep.
pub fn clock_mhz(threads: usize) -> Option<f64> {
    let mut rates = current(Path::new(PROCESSORS));
    if rates.is_empty() {
        rates = from_cpuinfo(&fs::read_to_string("/proc/cpuinfo").ok()?);
    }
    fastest(rates, threads)
}

/// The rate in MHz that the `threads` fastest processors can keep up.
pub fn sustained_mhz(threads: usize) -> Option<f64> {
    fastest(sustained(Path::new(PROCESSORS)), threads)
}

fn fastest(mut rates: Vec<f64>, threads: usize) -> Option<f64> {
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.truncate(threads.max(1));
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

fn current(root: &Path) -> Vec<f64> {
    let rate = |cpu: &Path| number(&cpu.join("cpufreq/scaling_cur_freq"), 1e-3);
    entries(root, "cpu").iter().filter_map(|cpu| rate(cpu)).collect()
}

/// The base rate stands in different places for Intel's driver and for those that use ACPI's CPPC;
/// elsewhere the highest rate is one without boost.
fn sustained(root: &Path) -> Vec<f64> {
    let rate = |cpu: &Path| {
        number(&cpu.join("cpufreq/base_frequency"), 1e-3)
            .or_else(|| number(&cpu.join("acpi_cppc/nominal_freq"), 1.0))
            .or_else(|| number(&cpu.join("cpufreq/cpuinfo_max_freq"), 1e-3))
    };
    entries(root, "cpu").iter().filter_map(|cpu| rate(cpu)).collect()
}

/// The positive number in a file, times `scale`.
fn number(path: &Path, scale: f64) -> Option<f64> {
    let number: f64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (number > 0.0).then_some(number * scale)
}

/// The `cpu MHz` lines of `/proc/cpuinfo`.
fn from_cpuinfo(text: &str) -> Vec<f64> {
    let rate = |line: &str| {
        line.strip_prefix("cpu MHz")?.trim_start().strip_prefix(':')?.trim().parse().ok()
    };
    text.lines().filter_map(rate).filter(|mhz: &f64| mhz.is_finite() && *mhz > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_cpuinfo_are_found_and_the_fastest_count() {
        let text = "processor\t: 0\ncpu MHz\t\t: 800.5\n\ncpu MHz\t\t: 3000.0\ncpu MHz : 2000\n";
        let rates = from_cpuinfo(text);
        assert_eq!(rates, [800.5, 3000.0, 2000.0]);
        assert_eq!(fastest(rates.clone(), 2), Some(2500.0));
        assert_eq!(fastest(rates, 0), Some(3000.0));
        assert_eq!(fastest(from_cpuinfo("cpu MHz : unknown\n"), 2), None);
    }

    #[test]
    fn sysfs_tells_the_rate_now_and_the_base_before_the_highest() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!((current(root.path()), sustained(root.path())), (vec![], vec![]));
        write("cpu0/cpufreq/scaling_cur_freq", "2600000\n");
        write("cpu0/cpufreq/cpuinfo_max_freq", "5100000\n");
        assert_eq!((current(root.path()), sustained(root.path())), (vec![2600.0], vec![5100.0]));
        write("cpu0/acpi_cppc/nominal_freq", "3300\n");
        assert_eq!(sustained(root.path()), [3300.0]);
        write("cpu0/cpufreq/base_frequency", "3000000\n");
        assert_eq!(sustained(root.path()), [3000.0]);
    }

    #[test]
    fn the_range_of_no_rates_is_none() {
        assert_eq!(ClockRates::of(&[], Some(1.0)), None);
        let rates = ClockRates::of(&[3.0, 2.0, 2.5], None).unwrap();
        assert_eq!((rates.lowest, rates.highest), (2.0, 3.0));
    }
}
