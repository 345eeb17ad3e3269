//! The description of the benchmark of two files in turns.

use serde::{Deserialize, Serialize};

use crate::steps::bench::BenchSpec;
use crate::steps::{DependsOn, FileRef, Kind, Load, Step};

/// Benchmark two files in turns, to compare them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchPairSpec {
    /// The first file, and how both are benchmarked.
    pub first: BenchSpec,
    /// The second file.
    pub second: FileRef,
    /// Decides in which order the two of each pair run.
    pub seed: u64,
}

impl BenchPairSpec {
    /// What all bench_pair steps have in common.
    // 2, 3, 4: as for the benchmark of one file.
    pub const KIND: Kind =
        Kind::new("bench_pair", 4).load(Load::Alone).depends_on(DependsOn::MachineAndProgram);
}

impl Step for BenchPairSpec {
    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        Some(length(&self.first.gguf)?.saturating_add(length(&self.second)?))
    }

    fn longest_text(&self) -> Option<(&'static str, u64)> {
        self.first.longest_text()
    }
}
