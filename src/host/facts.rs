//! Facts about the machine that numbers were measured on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, System};

use super::memory_limit::{self, Limited, MemoryLimit};
use crate::simd;

/// The machine, as far as it bears on speed and memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// The CPU's marketing name, or `unknown`.
    pub cpu_model: String,
    /// `x86_64`, `aarch64`, ...
    pub architecture: String,
    /// Physical cores of the machine.
    pub cores: usize,
    /// Threads that this process may run at once: affinity mask and cgroup quota included.
    pub threads: usize,
    /// Instruction sets the CPU has, of those that matter to kernels here; sorted.
    pub features: Vec<String>,
    /// Memory in bytes: the machine's, or the smallest limit that this process is under.
    pub ram_bytes: u64,
    /// That limit; absent where the machine's memory is all that limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<MemoryLimit>,
    /// Memory in bytes that can be had now without swapping.
    pub available_ram_bytes: u64,
    /// Kernel release, or `unknown`.
    pub kernel: String,
    /// CPU frequency governor; absent where the kernel shows none.
    pub governor: Option<String>,
    /// Load average over the last minute.
    pub load_1m: f64,
}

impl HostFacts {
    /// Looks at this machine. What cannot be found out is `unknown`, zero or absent.
    pub fn gather() -> Self {
        let (mut ram, mut available, mut cpu_model) = (0, 0, None);
        if let Ok(mut system) = System::new() {
            system.refresh_memory();
            system.refresh_cpu_list(CpuRefreshKind::nothing());
            (ram, available) = (system.total_memory(), system.available_memory());
            cpu_model = system.cpus().first().map(|c| c.brand().trim().to_owned());
        }
        let mut memory_limit = None;
        for Limited { limit, used } in memory_limit::limits() {
            available = available.min(limit.bytes.saturating_sub(used));
            if limit.bytes < ram {
                ram = limit.bytes;
                memory_limit = Some(limit);
            }
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cpu_model: cpu_model
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "unknown".to_owned()),
            architecture: std::env::consts::ARCH.to_owned(),
            cores: System::physical_core_count().unwrap_or(threads),
            threads,
            features: simd::features().into_iter().map(str::to_owned).collect(),
            ram_bytes: ram,
            memory_limit,
            available_ram_bytes: available,
            kernel: System::kernel_version().unwrap_or_else(|_| "unknown".to_owned()),
            governor: governor(),
            load_1m: System::load_average().map_or(0.0, |load| load.one),
        }
    }

    /// The memory there is, and what limits it if that is not the machine; in words.
    pub fn ram_in_words(&self) -> String {
        let ram = bytesize::ByteSize(self.ram_bytes).display().si();
        match &self.memory_limit {
            None => ram.to_string(),
            Some(limit) => format!("{ram} (as {} limits it)", limit.by),
        }
    }
}

/// The first core's frequency governor.
fn governor() -> Option<String> {
    std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_threads_and_a_kernel() {
        let facts = HostFacts::gather();
        assert!(facts.ram_bytes > 16 << 20, "{facts:?}");
        assert!(facts.available_ram_bytes <= facts.ram_bytes, "{facts:?}");
        assert!(facts.threads >= 1 && facts.cores >= 1, "{facts:?}");
        assert_ne!(facts.kernel, "unknown");
    }

    #[test]
    fn facts_that_decide_a_key_do_not_change_between_looks() {
        let (a, b) = (HostFacts::gather(), HostFacts::gather());
        assert_eq!((a.cpu_model, a.features, a.ram_bytes), (b.cpu_model, b.features, b.ram_bytes));
    }
}
