//! The description of a comparison.

use serde::{Deserialize, Serialize};

use super::CompareResult;
use crate::steps::prompt::PROMPT;
use crate::steps::{Context, FileRef, Measure, ModelWork, ReferenceFile, Step, StepError, Work};

/// Size, types, tensor-wise error and greedy agreement of a file against one reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareSpec {
    pub gguf: FileRef,
    pub reference: ReferenceFile,
    /// Tokens to generate greedily for the agreement.
    pub greedy_tokens: u32,
}

impl Step for CompareSpec {
    type Output = CompareResult;
    const KIND: &'static str = "compare";
    // 2 to 5: as for an evaluation.
    const VERSION: u32 = 5;

    fn run(&self, ctx: &Context<'_>) -> Result<CompareResult, StepError> {
        super::run(self, ctx)
    }

    /// Its files, with whatever others are compared.
    fn shares(&self) -> Option<String> {
        Some(String::new())
    }

    fn run_all(steps: &[(&Self, &Context<'_>)]) -> Vec<Result<CompareResult, StepError>> {
        super::run_all(steps)
    }

    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        let files = [&self.gguf, &self.reference.gguf];
        files.into_iter().filter_map(length).reduce(u64::saturating_add)
    }

    fn work(
        &self,
        _: Option<&Measure>,
        model: &mut dyn FnMut(&FileRef) -> Option<ModelWork>,
    ) -> Option<Work> {
        let (a, b) = (model(&self.gguf)?, model(&self.reference.gguf)?);
        let tokens = u64::from(self.greedy_tokens);
        let mut work = Work {
            read: a.bytes.saturating_add(b.bytes),
            dequantize: a.weights.saturating_add(b.weights),
            ..Work::start()
        };
        b.add_prompt(&mut work, PROMPT, 1);
        b.add_generation(&mut work, tokens);
        a.add_prompt(&mut work, PROMPT + tokens, tokens);
        Some(work)
    }

    /// Behind a prompt of one token at least.
    fn longest_text(&self) -> Option<(&'static str, u64)> {
        Some(("evaluate.greedy_tokens and their prompt", u64::from(self.greedy_tokens) + 1))
    }
}
