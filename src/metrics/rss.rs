//! What this process has taken from the machine: resident memory, page faults, processor time; and
//! what the rest of the machine did meanwhile. Read from `/proc`; `None` where there is none.

use std::fs;

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

/// Page faults of this process since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Without reading from disk.
    pub minor: u64,
    /// That had to read from disk.
    pub major: u64,
}

/// Counters of processor time, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTime {
    /// Time this process ran.
    own: u64,
    /// Time all processors were busy.
    busy: u64,
    /// Time a hypervisor gave to other machines.
    stolen: u64,
    /// All time of all processors.
    total: u64,
}

/// What others took from the machine between two readings, as shares (0 to 1) of all its processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disturbance {
    /// Processor time of other processes.
    pub others: f64,
    /// Time the hypervisor gave to other machines.
    pub stolen: f64,
}

/// Faults and processor time of this process, and the machine's, now.
pub fn usage() -> Option<(Faults, CpuTime)> {
    let (faults, own) = parse_own(&fs::read_to_string("/proc/self/stat").ok()?)?;
    let cpu = parse_machine(&fs::read_to_string("/proc/stat").ok()?, own)?;
    Some((faults, cpu))
}

impl CpuTime {
    /// What others took since `earlier`; `None` where no tick has passed.
    pub fn disturbance_since(&self, earlier: &CpuTime) -> Option<Disturbance> {
        let total = self.total.checked_sub(earlier.total).filter(|t| *t > 0)? as f64;
        let own = self.own.saturating_sub(earlier.own);
        let busy = self.busy.saturating_sub(earlier.busy);
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        Some(Disturbance {
            others: busy.saturating_sub(own) as f64 / total,
            stolen: stolen as f64 / total,
        })
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
        let before = parse_machine("cpu  100 0 0 900 0 0 0 0 0 0\n", 50);
        let after = parse_machine("cpu  250 0 10 1000 20 0 0 20 0 0\n", 150);
        let found = after.unwrap().disturbance_since(&before.unwrap()).unwrap();
        // 300 ticks in all, 160 busy, 100 of them own, 20 stolen
        assert!((found.others - 0.2).abs() < 1e-12 && (found.stolen - 20.0 / 300.0).abs() < 1e-12);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_can_be_read() {
        assert!(Memory::now().unwrap().peak_rss > 0);
        assert!(usage().is_some());
    }
}
