//! The description of a comparison.

use serde::{Deserialize, Serialize};

use crate::steps::prompt::PROMPT;
use crate::steps::{FileRef, Kind, ModelCosts, PlannedModel, ReferenceFile, Step, Work};

/// Size, types, tensor-wise error and greedy agreement of a file against one reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareSpec {
    pub gguf: FileRef,
    pub reference: ReferenceFile,
    /// Tokens to generate greedily for the agreement.
    pub greedy_tokens: u32,
}

impl CompareSpec {
    /// What all compare steps have in common.
    // 2 to 5: as for an evaluation.
    pub const KIND: Kind = Kind::new("compare", 5);
}

impl Step for CompareSpec {
    /// Its files, with whatever others are compared.
    fn shares(&self) -> Option<String> {
        Some(String::new())
    }

    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        let files = [&self.gguf, &self.reference.gguf];
        files.into_iter().filter_map(length).reduce(u64::saturating_add)
    }

    fn work(&self, _: Option<&PlannedModel>, costs: &mut ModelCosts<'_>) -> Option<Work> {
        let (a, b) = (costs(&self.gguf)?, costs(&self.reference.gguf)?);
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
