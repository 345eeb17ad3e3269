//! The description of the benchmark of two files in turns.

use serde::{Deserialize, Serialize};

use super::BenchPairResult;
use crate::steps::bench::BenchSpec;
use crate::steps::{Context, DependsOn, FileRef, Load, Step, StepError};

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

impl Step for BenchPairSpec {
    type Output = BenchPairResult;
    const KIND: &'static str = "bench_pair";
    // 2, 3, 4: as for the benchmark of one file.
    const VERSION: u32 = 4;
    const LOAD: Load = Load::Alone;
    const DEPENDS_ON: DependsOn = DependsOn::MachineAndProgram;

    fn run(&self, ctx: &Context<'_>) -> Result<BenchPairResult, StepError> {
        super::run(self, ctx)
    }

    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        Some(length(&self.first.gguf)?.saturating_add(length(&self.second)?))
    }

    fn longest_text(&self) -> Option<(&'static str, u64)> {
        self.first.longest_text()
    }
}
