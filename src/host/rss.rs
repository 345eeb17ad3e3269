//! What this process has taken from the machine: resident memory, page faults, processor time; and
//! what the rest of the machine did meanwhile. Read from `/proc`; `None` where there is none.

use std::fs;

use serde::{Deserialize, Serialize};

/// Memory of this process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Largest resident set so far (`VmHWM`), pages of mapped files included.
    pub peak_rss: u64,
    /// Resident and its own (`RssAnon`): heap, stacks.
    pub rss_anon: u64,
    /// Resident pages of mapped files (`RssFile`), such as a GGUF file's weights.
    pub rss_file: u64,
}

impl Memory {
    /// Of this process, now.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self {
            peak_rss: field("VmHWM")?,
            rss_anon: field("RssAnon")?,
            rss_file: field("RssFile")?,
        })
    }
}

/// Page faults of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Without reading from disk.
    pub minor: u64,
    /// That had to read from disk.
    pub major: u64,
}

/// Processor time, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CpuTime {
    /// Time this process ran.
    own: u64,
    /// Time all processors were busy.
    busy: u64,
    /// Time a hypervisor gave to other machines.
    stolen: u64,
    /// All time of all processors.
    total: u64,
}

/// Faults and processor time of this process, and the machine's: the counters as they stand, or
/// how far they moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub faults: Faults,
    cpu: CpuTime,
}

/// What others took from the machine in some time, as shares (0 to 1) of all its processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disturbance {
    /// Processor time of other processes.
    pub others: f64,
    /// Time the hypervisor gave to other machines.
    pub stolen: f64,
}

impl Usage {
    /// The counters, now.
    pub fn now() -> Option<Self> {
        let (faults, own) = parse_own(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let cpu = parse_machine(&fs::read_to_string("/proc/stat").ok()?, own)?;
        Some(Self { faults, cpu })
    }

    /// How far the counters moved since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// Two stretches of time together.
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What others took in this stretch of time; `None` where no tick has passed.
    pub fn disturbance(&self) -> Option<Disturbance> {
        let CpuTime { own, busy, stolen, total } = self.cpu;
        (total > 0).then(|| Disturbance {
            others: busy.saturating_sub(own) as f64 / total as f64,
            stolen: stolen as f64 / total as f64,
        })
    }

    fn with(&self, other: &Self, f: fn(u64, u64) -> u64) -> Self {
        let (faults, cpu) = (&other.faults, &other.cpu);
        Self {
            faults: Faults {
                minor: f(self.faults.minor, faults.minor),
                major: f(self.faults.major, faults.major),
            },
            cpu: CpuTime {
                own: f(self.cpu.own, cpu.own),
                busy: f(self.cpu.busy, cpu.busy),
                stolen: f(self.cpu.stolen, cpu.stolen),
                total: f(self.cpu.total, cpu.total),
            },
        }
    }
}

/// Faults and own ticks from `/proc/self/stat` (proc(5)); the name in brackets may hold anything.
fn parse_own(stat: &str) -> Option<(Faults, u64)> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    // Field 3 of proc(5), the state, is number 0 here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let faults = Faults { minor: field(10)?, major: field(12)? };
    Some((faults, field(14)?.checked_add(field(15)?)?))
}

/// The machine's ticks from the first line of `/proc/stat`.
fn parse_machine(stat: &str, own: u64) -> Option<CpuTime> {
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map(|t| t.parse().ok())
        .collect::<Option<_>>()?;
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let &[user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks.as_slice() else {
        return None;
    };
    let busy = [user, nice, system, irq, softirq].iter().sum::<u64>();
    Some(CpuTime { own, busy, stolen: steal, total: busy + idle + iowait + steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_become_bytes() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nRssAnon:\t 1024 kB\nRssFile:\t 512 kB\n";
        let memory = Memory { peak_rss: 2 << 20, rss_anon: 1 << 20, rss_file: 1 << 19 };
        assert_eq!(Memory::parse(status), Some(memory));
        assert_eq!(Memory::parse("VmHWM:\t 1 kB\n"), None);
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 70 0 9 0 100 23 0 0 20 0";
        assert_eq!(parse_own(stat), Some((Faults { minor: 70, major: 9 }, 123)));
    }

    #[test]
    fn what_others_take_is_what_is_busy_and_not_own() {
        let reading = |line: &str, own, major| Usage {
            faults: Faults { minor: 0, major },
            cpu: parse_machine(line, own).unwrap(),
        };
        let before = reading("cpu  100 0 0 900 0 0 0 0 0 0\n", 50, 3);
        let after = reading("cpu  250 0 10 1000 20 0 0 20 0 0\n", 150, 7);
        let moved = after.since(&before);
        let found = moved.disturbance().unwrap();
        // 300 ticks in all, 160 busy, 100 of them own, 20 stolen
        assert!((found.others - 0.2).abs() < 1e-12 && (found.stolen - 20.0 / 300.0).abs() < 1e-12);
        assert_eq!(moved.faults.major, 4);
        assert_eq!(before.since(&before).disturbance(), None);
        // As much again, in which others took nothing: half the share.
        let calm = reading("cpu  300 0 0 0 0 0 0 0 0 0\n", 300, 1);
        let both = moved.plus(&calm);
        assert!((both.disturbance().unwrap().others - 0.1).abs() < 1e-12);
        assert_eq!(both.faults.major, 5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_can_be_read() {
        assert!(Memory::now().unwrap().peak_rss > 0);
        assert!(Usage::now().is_some());
    }
}
