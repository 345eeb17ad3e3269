//! A file's digest, and a digest as something to copy a file into.

use std::io::{self, Write};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A file with its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    pub path: Utf8PathBuf,
    pub bytes: u64,
    /// Lower-case hexadecimal SHA-256 of the whole file.
    pub sha256: String,
}

/// Feeds what is written to it to a hash.
pub struct HashWriter<'a>(pub &'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
