//! The description of the benchmark of one file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::KvCacheType;
use crate::steps::{DependsOn, FileRef, Kind, Load, ModelCosts, PlannedModel, Step, Work};

/// What it takes to see how fast memory is, about.
const BANDWIDTH: Duration = Duration::from_millis(500);

/// Benchmark one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchSpec {
    pub gguf: FileRef,
    pub warmups: u32,
    pub runs: u32,
    pub prompt_tokens: u32,
    pub generate_tokens: u32,
    /// What keys and values are kept in; `None` for f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvCacheType>,
}

impl BenchSpec {
    /// What all bench steps have in common.
    // 2: bytes per token, bandwidth, clocks, faults of each run.
    // 3, 4, 5: a faster engine, whose times do not compare with the older ones'.
    pub const KIND: Kind =
        Kind::new("bench", 5).load(Load::Alone).depends_on(DependsOn::MachineAndProgram);
}

impl Step for BenchSpec {
    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        length(&self.gguf)
    }

    fn work(&self, _: Option<&PlannedModel>, costs: &mut ModelCosts<'_>) -> Option<Work> {
        let model = costs(&self.gguf)?;
        let mut work = Work::start();
        let runs = u64::from(self.warmups) + u64::from(self.runs);
        model.add_prompt(&mut work, runs * u64::from(self.prompt_tokens), runs);
        model.add_generation(&mut work, runs * u64::from(self.generate_tokens));
        work.fixed += BANDWIDTH;
        Some(work)
    }

    fn longest_text(&self) -> Option<(&'static str, u64)> {
        let tokens = u64::from(self.prompt_tokens) + u64::from(self.generate_tokens);
        Some(("bench.prompt_tokens and bench.generate_tokens", tokens))
    }
}
