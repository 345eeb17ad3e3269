//! The JSON files of a checkpoint, as text. Knows nothing of what they say.

use std::io::Read;

use camino::Utf8Path;

use super::Error;
use crate::gguf::open_regular;

/// Longest one that is read, in bytes.
const MAX_JSON: u64 = 100_000_000;

/// Reads the file at `path`.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::Damaged`] if it is unreasonably long.
pub fn read_text(path: &Utf8Path) -> Result<String, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut file = open_regular(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MAX_JSON {
        return Err(Error::Damaged {
            path: path.to_owned(),
            what: "its length".into(),
            expected: format!("at most {MAX_JSON} bytes"),
            found: format!("{length} bytes"),
        });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io)?;
    Ok(text)
}
