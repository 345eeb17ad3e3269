//! The description of the load check, and its result.

use serde::{Deserialize, Serialize};

use crate::steps::prompt::PROMPT;
use crate::steps::{
    Context, DependsOn, FileRef, Label, Measure, ModelWork, Step, StepError, TimeLimit, Work,
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

impl Step for LoadCheckSpec {
    type Output = LoadCheckResult;
    const KIND: &'static str = "load_check";
    // 2: refuses and warns of more.
    const VERSION: u32 = 2;
    const DEPENDS_ON: DependsOn = DependsOn::Machine;

    fn run(&self, ctx: &Context<'_>) -> Result<LoadCheckResult, StepError> {
        super::run(self, ctx)
    }

    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        length(&self.gguf)
    }

    fn work(
        &self,
        _: Option<&Measure>,
        model: &mut dyn FnMut(&FileRef) -> Option<ModelWork>,
    ) -> Option<Work> {
        let model = model(&self.gguf)?;
        let mut work = Work { read: model.bytes, ..Work::start() };
        model.add_prompt(&mut work, 2 * PROMPT, PROMPT);
        model.add_generation(&mut work, CHECKED);
        Some(work)
    }

    fn limit(&self) -> Option<&TimeLimit> {
        self.limit.as_ref()
    }
}
