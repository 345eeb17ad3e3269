//! The description of an evaluation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LOGITS_BYTES;
use crate::model::KvCacheType;
use crate::steps::{FileRef, Kind, ModelCosts, PlannedModel, ReferenceFile, Step, Work};

/// Bytes of a text in a token, about: English in a vocabulary of 200,000.
const TOKEN_BYTES: u64 = 4;

/// What text of a corpus becomes that spells a special token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokens {
    /// What it is to llama-perplexity: `<|start|>`, `<|channel|>`, `<|constrain|>`, `<|message|>`,
    /// `<|end|>` and tokens of the user-defined type are those tokens; `<|return|>` and other
    /// control tokens are text.
    #[default]
    Parse,
    /// Text like any other.
    Literal,
}

/// KL divergence, perplexity and agreement of a file against references over a text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluateSpec {
    pub gguf: FileRef,
    pub references: Vec<ReferenceFile>,
    pub corpus: Vec<FileRef>,
    /// Tokens per window.
    pub context: u32,
    /// Windows at most, from the start of the corpus; `None` for all.
    pub max_windows: Option<u32>,
    /// Float activations instead of 8-bit ones.
    pub exact: bool,
    /// What text that spells a special token becomes.
    #[serde(default)]
    pub special_tokens: SpecialTokens,
    /// What keys and values are kept in, by all models; `None` for f16, or f32 if `exact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvCacheType>,
}

impl EvaluateSpec {
    /// Windows that it reads, about.
    fn windows(&self) -> u64 {
        let window = TOKEN_BYTES * u64::from(self.context).max(1);
        let of = |file: &FileRef| file.metadata().map_or(0, |m| m.len()) / window;
        let all: u64 = self.corpus.iter().map(of).sum();
        self.max_windows.map_or(all, |most| all.min(most.into())).max(1)
    }
}

impl EvaluateSpec {
    /// What all evaluate steps have in common.
    // 2: other kernels, whose activations have scales in single precision for every 32.
    // 3: rows of floats are summed in sixteen lanes with AVX-512.
    // 4: the gate of an expert by an exponential of vectors.
    // 5: marks of messages in a corpus are tokens; more keys of a file's are obeyed.
    pub const KIND: Kind = Kind::new("evaluate", 5);
}

impl Step for EvaluateSpec {
    /// All are mapped and read in turns, a few windows each time: what does not fit beside the others
    /// is read from the disk as often.
    fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        let files = std::iter::once(&self.gguf).chain(self.references.iter().map(|r| &r.gguf));
        let mapped = files.filter_map(length).reduce(u64::saturating_add)?;
        Some(mapped.saturating_add(LOGITS_BYTES))
    }

    fn work(&self, _: Option<&PlannedModel>, costs: &mut ModelCosts<'_>) -> Option<Work> {
        let mut work = Work::start();
        let tokens = self.windows() * u64::from(self.context);
        for file in std::iter::once(&self.gguf).chain(self.references.iter().map(|r| &r.gguf)) {
            costs(file)?.add_prompt(&mut work, tokens, tokens / 2);
        }
        Some(work)
    }

    fn longest_text(&self) -> Option<(&'static str, u64)> {
        Some(("the windows of evaluate.context", self.context.into()))
    }
}
