//! What can be wrong with a GGUF file.

use camino::Utf8PathBuf;

/// Why a GGUF file cannot be used. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or mapped.
    #[error("cannot open {path}: {source}")]
    Io {
        path: Utf8PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The first four bytes are not `GGUF`.
    #[error("{path} is not a GGUF file: expected it to begin with \"GGUF\", found {found}")]
    NotGguf { path: Utf8PathBuf, found: String },
    /// A version of the format that this reader does not know.
    #[error("{path} has GGUF version {found}; expected 2 or 3, little-endian{hint}")]
    Version { path: Utf8PathBuf, found: u32, hint: &'static str },
    /// The header is longer than the file.
    #[error(
        "{path} is truncated: it is {actual} bytes long, but {what} at byte {offset} needs \
         {needed} more; copy or download it again"
    )]
    HeaderTruncated { path: Utf8PathBuf, actual: u64, what: &'static str, offset: u64, needed: u64 },
    /// The data section is longer than the file.
    #[error(
        "{path} is truncated: it is {actual} bytes long, its header says {expected} \
         (tensor {tensor} ends there); copy or download it again"
    )]
    DataTruncated { path: Utf8PathBuf, actual: u64, expected: u64, tensor: String },
    /// Something in the header contradicts the format.
    #[error("{path} is damaged at byte {offset}: {what}: expected {expected}, found {found}")]
    Header { path: Utf8PathBuf, offset: u64, what: String, expected: String, found: String },
    /// A tensor's description cannot be true.
    #[error("{path}: tensor {tensor}: expected {expected}, found {found}")]
    Tensor { path: Utf8PathBuf, tensor: String, expected: String, found: String },
    /// A model in parts that are not all there, or do not belong together.
    #[error("{path}: {problem}")]
    Parts { path: Utf8PathBuf, problem: String },
    /// A GGUF file that holds something else.
    #[error("{path} is no importance matrix: expected what llama-imatrix writes, found {found}")]
    NotImatrix { path: Utf8PathBuf, found: String },
}
