//! Why a vocabulary cannot be used.

use camino::Utf8PathBuf;

use crate::downloads::ReadError;

/// Why a vocabulary cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file of the tokenizer cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file is not the JSON it should be.
    #[error("{path} is not the JSON of a tokenizer")]
    Json { path: Utf8PathBuf, source: serde_json::Error },
    /// The vocabulary is of a kind that this project does not have.
    #[error("unsupported {what}: expected {expected}, found {found}")]
    Unsupported { what: &'static str, expected: String, found: String },
    /// Metadata that a tokenizer needs is missing or has another type.
    #[error("metadata key {key} is missing or is not {expected}; convert the checkpoint again")]
    Metadata { key: &'static str, expected: &'static str },
    /// A key is of another type than llama.cpp reads.
    #[error(
        "metadata key {key} is stored as {found}; expected {expected}, and llama.cpp refuses anything else"
    )]
    KeyType { key: String, expected: &'static str, found: String },
    /// The model has fewer tokens than its vocabulary.
    #[error(
        "token {token:?} has id {id}, but the model's vocabulary has {vocab_size} tokens; the \
         tokenizer belongs to another model"
    )]
    OutOfVocabulary { token: String, id: u64, vocab_size: usize },
    /// Two tokens share one id.
    #[error("tokens {first:?} and {second:?} both have id {id}")]
    DuplicateId { first: String, second: String, id: u64 },
    /// Two ids share one token.
    #[error("ids {first} and {second} are both the token {token:?}; every token has one id")]
    DuplicateToken { token: String, first: u32, second: u32 },
    /// Types and tokens do not match in number.
    #[error("{types} token types for {tokens} tokens; expected one for each")]
    TypeCount { types: usize, tokens: usize },
    /// A merge that is not two tokens whose join is a token.
    #[error("merge {number} is {merge:?}: {reason}")]
    Merge { number: usize, merge: String, reason: String },
    /// Byte-level encoding needs a token for every byte.
    #[error("the vocabulary has no token for byte {0:#04x}; a byte-level vocabulary has all 256")]
    MissingByte(u8),
    /// A pattern or automaton cannot be built from the vocabulary.
    #[error("cannot build {what}: {reason}")]
    Build { what: &'static str, reason: String },
}
