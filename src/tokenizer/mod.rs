//! Vocabularies: encode text to token ids and decode them. Knows nothing of models.
//!
//! One kind of vocabulary: byte-level byte-pair encoding, with one of the pre-tokenizers of a table. A
//! [`Vocabulary`] is what a GGUF file stores; a [`Tokenizer`] is what
//! encodes and decodes with it.

mod byte_level;
mod directory;
mod encode;
mod error;
mod gguf_keys;
mod merge;
mod o200k;
mod outline;
mod split;
mod stream;
mod vocabulary;

pub use encode::{Special, Tokenizer};
pub use error::TokenizerError;
#[cfg(test)]
pub(crate) use o200k::MADE;
pub use outline::o200k_harmony_outline;
pub use split::PreTokenizer;
pub use stream::TextStream;
pub use vocabulary::{ChatTemplates, TokenType, Vocabulary};
