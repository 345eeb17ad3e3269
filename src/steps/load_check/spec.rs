//! The description of the load check, and its result.

use serde::{Deserialize, Serialize};

use crate::steps::prompt::PROMPT;
use crate::steps::{
    DependsOn, FileRef, Kind, Label, ModelCosts, PlannedModel, Step, TimeLimit, Work,
};

/// Tokens that the check generates.
const CHECKED: u64 = 16;

/// Check that a file is whole, loads and computes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadCheckSpec {
    pub gguf: FileRef,
    /// When it has taken too long.
    #[serde(default)]
    pub limit: Label<Option<TimeLimit>>,
}

/// Result of [`LoadCheckSpec`]; a check that fails is an error, not a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadCheckResult {
    pub architecture: String,
    pub tensors: usize,
    pub load_ms: f64,
    /// What was generated from the fixed prompt, as text.
    pub sample: String,
    /// What was checked, in order, in words.
    pub checks: Vec<String>,
}

impl LoadCheckSpec {
    /// What all load_check steps have in common.
    // 2: refuses and warns of more.
    pub const KIND: Kind = Kind::new("load_check", 2).depends_on(DependsOn::Machine);
}

impl Step for LoadCheckSpec {
    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        length(&self.gguf)
    }

    fn work(&self, _: Option<&PlannedModel>, costs: &mut ModelCosts<'_>) -> Option<Work> {
        let model = costs(&self.gguf)?;
        let mut work = Work { read: model.bytes, ..Work::start() };
        model.add_prompt(&mut work, 2 * PROMPT, PROMPT);
        model.add_generation(&mut work, CHECKED);
        Some(work)
    }

    fn limit(&self) -> Option<&TimeLimit> {
        self.limit.as_ref()
    }
}
