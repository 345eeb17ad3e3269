//! GGUF files: reader, writer and metadata. Knows nothing of models.
//!
//! Format: `docs/gguf.md` of the ggml project, version 3, little-endian.

mod metadata;
mod source;

pub use metadata::{Array, Metadata, Value};
pub use source::{SourceError, TensorInfo, TensorSource};
