//! How writing a file fails.

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken, or is not one for a file: the user has to say what is meant.
    #[error("{0}")]
    Name(String),
    /// The disk, the file system or another process stands in the way.
    #[error("{0}")]
    Refused(String),
}
