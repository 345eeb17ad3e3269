//! What convert and quantize read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CheckpointDir, FileRef, TokenizerDir};

/// Where the vocabulary comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerSource {
    /// `tokenizer.json` and its companions in the checkpoint's directory.
    Checkpoint,
    /// The built-in o200k_harmony vocabulary.
    O200kHarmony,
    /// Another directory with `tokenizer.json`.
    Directory(TokenizerDir),
}

/// Type of the tensors that a checkpoint does not hold in MXFP4, in the converted file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConvertDtype {
    #[default]
    F32,
    F16,
    Bf16,
}

/// Where quantize reads: a GGUF file, or a checkpoint as convert would write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantizeSource {
    Gguf(FileRef),
    Checkpoint { directory: CheckpointDir, tokenizer: TokenizerSource, dtype: ConvertDtype },
}
