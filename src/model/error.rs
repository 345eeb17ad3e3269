//! What can be wrong with a model or with what is asked of it.

use crate::arch::{ArchError, Architecture};
use crate::compute::{MatrixError, PoolError};
use crate::ggml::StoredType;
use crate::gguf::{Name, NotComputable, SourceError};

use super::SessionMemory;

/// Why a model cannot be loaded or cannot compute.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The metadata are none of a model that is known.
    #[error(transparent)]
    Architecture(#[from] ArchError),
    /// Heads that attention is not computed with.
    #[error(
        "metadata: heads of {head_dim} elements; expected a multiple of 8, since no others are computed"
    )]
    HeadDim { head_dim: usize },
    /// A tensor of the architecture is not in the file.
    #[error("tensor {tensor} is missing; expected it with shape {expected:?}")]
    MissingTensor { tensor: String, expected: Vec<u64> },
    /// A tensor has a shape that the hyperparameters do not allow.
    #[error("tensor {tensor} has shape {found:?}; the metadata asks for {expected:?}")]
    Shape { tensor: String, found: Vec<u64>, expected: Vec<u64> },
    /// A tensor that the architecture does not have.
    #[error(
        "tensor {tensor}{} not {architecture}'s; expected no other tensors than the architecture's for \
         the layers in the metadata: such a file is not computed with, and llama.cpp refuses it or \
         multiplies with scales of that name",
        others(*more)
    )]
    OtherTensor { architecture: &'static str, tensor: String, more: usize },
    /// A norm, a bias or the sinks in a type other than f32.
    #[error(
        "tensor {tensor} is {found}; expected f32, as all norms, biases and sinks: llama.cpp stops \
         at any other type"
    )]
    VectorType { tensor: String, found: StoredType },
    /// A tensor's type or bytes cannot be computed with.
    #[error("tensor {tensor} cannot be computed with")]
    Matrix { tensor: String, source: MatrixError },
    /// A tensor is of a type that can only be copied.
    #[error(transparent)]
    Type(#[from] NotComputable),
    /// A tensor cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Threads could not be started.
    #[error(transparent)]
    Threads(#[from] PoolError),
    /// More tokens than the model was made for.
    #[error("a text of {asked} tokens was asked for; the model was made for at most {limit}")]
    TooLong { asked: usize, limit: usize },
    /// The KV cache and the buffers of the forward pass do not fit into memory.
    #[error(
        "a text of {tokens} tokens needs {} of memory ({} for the KV cache, {} for buffers) and {} are available; ask for fewer tokens, keep the cache in a smaller type (--kv-cache q8_0) or free memory",
        Bytes(needed.total()), Bytes(needed.cache), Bytes(needed.buffers), Bytes(*available)
    )]
    Memory { tokens: usize, needed: SessionMemory, available: u64 },
    /// The KV cache cannot be kept in the type asked for.
    #[error(
        "keys and values of heads of {head_dim} elements cannot be kept in q8_0, which takes multiples of 32; use f16"
    )]
    CacheType { head_dim: usize },
    /// Sliding windows have moved on.
    #[error(
        "the text cannot be taken up again after {tokens} tokens: what the sliding windows saw there is overwritten; keep {least} tokens or more, or start anew"
    )]
    Forgotten { tokens: usize, least: usize },
    /// The session's cache has no room for the tokens given.
    #[error("{position} of the session's {capacity} tokens are taken: no room for {asked} more")]
    Full { position: usize, asked: usize, capacity: usize },
    /// A token that is not in the vocabulary.
    #[error("token {token} is outside of the vocabulary of {vocab}")]
    Token { token: u32, vocab: usize },
    /// Generation was asked to go on from nothing.
    #[error("the prompt has no tokens; give at least one")]
    EmptyPrompt,
    /// The session was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// The model's logits are no numbers.
    #[error(
        "the logits after {position} tokens are not finite (token {token}: {value}); the file is damaged or the model overflows"
    )]
    NotFinite { position: usize, token: usize, value: f32 },
}

impl ModelError {
    /// A tensor, and so many more, that the architecture does not have.
    pub(super) fn other_tensor(architecture: &Architecture, name: &Name, more: usize) -> Self {
        Self::OtherTensor { architecture: architecture.name, tensor: name.to_string(), more }
    }
}

/// How a sentence about one tensor goes on.
fn others(more: usize) -> String {
    if more == 0 { " is".to_owned() } else { format!(" and {more} more are") }
}

/// A number of bytes to read.
struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        bytesize::ByteSize(self.0).display().si().fmt(f)
    }
}
