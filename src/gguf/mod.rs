//! GGUF files: reader, writer and metadata; and importance matrices, which are GGUF files today.
//! Knows nothing of models.
//!
//! Format: `docs/gguf.md` of the ggml project, version 3, little-endian.

mod cursor;
mod error;
mod header;
mod imatrix;
mod metadata;
mod reader;
mod source;
mod values;
mod writer;

pub use crate::files::{Map, open_regular};
pub use error::Error;
pub use header::MAX_NAME;
pub use imatrix::{Imatrix, Importance};
pub use metadata::{Array, DEFAULT_ALIGNMENT, Metadata, Value};
pub use reader::File;
pub use source::{SourceError, TensorInfo, TensorSource};
pub use writer::{Layout, LayoutError};
