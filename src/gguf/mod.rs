//! GGUF files: reader, writer and metadata; and importance matrices, which are GGUF files today.
//! Knows nothing of models.
//!
//! Format: `docs/gguf.md` of the ggml project, version 3, little-endian.

mod cursor;
mod error;
mod header;
mod imatrix;
mod metadata;
mod name;
mod part;
mod parts;
mod reader;
mod source;
mod tensor_info;
mod value;
mod values;
mod writer;

pub use error::Error;
pub use header::MAX_NAME;
pub use imatrix::{Imatrix, Importance};
pub use metadata::{DEFAULT_ALIGNMENT, Metadata};
pub use name::Name;
pub use parts::{SPLIT_KEYS, part_metadata, part_path, partition, whole_path};
pub use reader::File;
pub use source::{SourceError, TensorSource};
pub use tensor_info::{NotComputable, TensorInfo, bits_per_weight};
pub use value::{Array, Value};
pub use writer::{Layout, LayoutError};
