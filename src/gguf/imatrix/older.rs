//! The format that llama-imatrix wrote until 2025, usually `imatrix.dat`: the number of tensors; for
//! each its name, the number of calls and its values, already divided by tokens and multiplied by
//! calls; then, if it is not too old, the number of chunks and the text's name. All numbers are
//! little-endian `i32` or `f32`; there is nothing that tells the format from another.

use std::ops::Range;

use camino::Utf8Path;

use super::{Contents, Entry, VALUE};
use crate::gguf::Error;

/// Bytes of a name or of the text's name that are kept. Tensors are called by fewer, and of the
/// text's name a quantized file takes fewer.
const MAX_TEXT: usize = 1024;

/// Reads the file at `path`, whose bytes are `bytes`.
pub(super) fn read(path: &Utf8Path, bytes: &[u8]) -> Result<Contents, Error> {
    let mut file = Walk { path, bytes, at: 0 };
    let mut contents = Contents::default();
    let count = file.positive("the number of tensors")?;
    for _ in 0..count {
        let name = file.text("the name of a tensor")?;
        let calls = file.number("the number of calls")?;
        let values = file.positive("the number of values")?;
        let values = file.take(values.saturating_mul(VALUE), "the values of a tensor")?;
        // Without calls the values count as they are.
        let counts = vec![Some(if calls > 0 { calls as f32 } else { 1.0 })];
        contents.entries.insert(name, Entry { values, counts });
    }
    if file.at < bytes.len() {
        contents.chunks = file.number("the number of chunks")?;
        if file.at < bytes.len() {
            let name = file.text("the name of the text")?;
            contents.datasets.extend(Some(name).filter(|name| !name.is_empty()));
        }
    }
    Ok(contents)
}

/// Reads from the front to the end; every length is held against the bytes that are left.
struct Walk<'a> {
    path: &'a Utf8Path,
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    /// Where the next `n` bytes are.
    fn take(&mut self, n: usize, what: &str) -> Result<Range<usize>, Error> {
        let left = self.bytes.len() - self.at;
        if n > left {
            return Err(self.damaged(what, format!("{n} bytes"), format!("{left} until the end")));
        }
        self.at += n;
        Ok(self.at - n..self.at)
    }

    fn number(&mut self, what: &str) -> Result<i32, Error> {
        let mut bytes = [0; size_of::<i32>()];
        let range = self.take(bytes.len(), what)?;
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(i32::from_le_bytes(bytes))
    }

    /// A number of things of which there is at least one.
    fn positive(&mut self, what: &str) -> Result<usize, Error> {
        let number = self.number(what)?;
        match usize::try_from(number) {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(self.damaged(what, "at least 1".to_owned(), number.to_string())),
        }
    }

    /// Text behind its length; what follows a zero byte or [`MAX_TEXT`] bytes does not count.
    fn text(&mut self, what: &str) -> Result<String, Error> {
        let length = self.number(what)?;
        let Ok(length) = usize::try_from(length) else {
            return Err(self.damaged(
                what,
                "a length of at least 0".to_owned(),
                length.to_string(),
            ));
        };
        let range = self.take(length, what)?;
        let text = &self.bytes[range.start..range.end.min(range.start + MAX_TEXT)];
        let text = text.split(|&b| b == 0).next().unwrap_or_default();
        // A path may be in another encoding; no tensor is called so.
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn damaged(&self, what: &str, expected: String, found: String) -> Error {
        Error::Header {
            path: self.path.to_owned(),
            offset: self.at as u64,
            what: format!("{what}, read as an importance matrix"),
            expected,
            found,
        }
    }
}
