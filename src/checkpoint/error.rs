//! What can be wrong with a checkpoint.

use camino::Utf8PathBuf;

use crate::arch::ConfigError;
use crate::downloads::ReadError;

/// Why a checkpoint cannot be used. Every message names the file or directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        path: Utf8PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A text is not there, or not what it should be.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file that a checkpoint consists of is not there.
    #[error("{directory} has no {what}{hint}")]
    Missing { directory: Utf8PathBuf, what: String, hint: String },
    /// A file is shorter than its header says.
    #[error(
        "{path} is truncated: it is {actual} bytes long, its header says {expected}; \
         copy or download it again"
    )]
    Truncated { path: Utf8PathBuf, actual: u64, expected: u64 },
    /// A file contradicts its format.
    #[error("{path} is damaged: {what}: expected {expected}, found {found}")]
    Damaged { path: Utf8PathBuf, what: String, expected: String, found: String },
    /// A JSON file or header that does not parse.
    #[error("{path}: {what} is not what it should be: {source}")]
    Json {
        path: Utf8PathBuf,
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// The configuration cannot be used.
    #[error("{path}: {source}")]
    Config {
        path: Utf8PathBuf,
        #[source]
        source: ConfigError,
    },
    /// A tensor that the configuration asks for is not there.
    #[error("{directory}: tensor {tensor} is missing: {why}")]
    MissingTensor { directory: Utf8PathBuf, tensor: String, why: String },
    /// A tensor is not what the configuration says.
    #[error("{path}: tensor {tensor}: expected {expected}, found {found}")]
    Tensor { path: Utf8PathBuf, tensor: String, expected: String, found: String },
}
