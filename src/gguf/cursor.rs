//! A bounds-checked walk over a GGUF header: every length is held against the bytes that are left
//! before anything is allocated.

use camino::Utf8Path;

use super::Error;

/// Longest header, in bytes. The longest published ones are below 20 MiB; what is read from a
/// header is kept in memory, so this bounds it; as empty strings it takes the most, 400 MB.
const MAX_HEADER: usize = 128 << 20;

/// Reads little-endian values from the front of a file's bytes.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    path: &'a Utf8Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(path: &'a Utf8Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Bytes of the header not read yet, at most.
    fn remaining(&self) -> usize {
        self.bytes.len().min(MAX_HEADER) - self.at
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Error> {
        if n > self.remaining() {
            if self.bytes.len() > MAX_HEADER {
                let most = format!("a header of at most {MAX_HEADER} bytes");
                return Err(self.damaged(self.at, what, most, format!("{n} bytes more")));
            }
            return Err(Error::HeaderTruncated {
                path: self.path.to_owned(),
                actual: self.bytes.len() as u64,
                what,
                offset: self.at as u64,
                needed: (n - self.remaining()) as u64,
            });
        }
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things that take at least `min_bytes` each; more than the file can hold is an
    /// error, so that a count can be trusted for allocation.
    pub(super) fn count(&mut self, min_bytes: usize, what: &'static str) -> Result<usize, Error> {
        let start = self.at;
        let count = self.u64(what)?;
        let most = (self.remaining() / min_bytes) as u64;
        if count > most {
            return Err(self.damaged(
                start,
                what,
                format!("at most {most}, which is what the rest of the header can hold"),
                count.to_string(),
            ));
        }
        Ok(count as usize)
    }

    /// A length-prefixed string, which is UTF-8 by the format and other bytes in some files.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8], Error> {
        let length = self.count(1, what)?;
        self.take(length, what)
    }

    /// An error at `offset`.
    pub(super) fn damaged(
        &self,
        offset: usize,
        what: impl Into<String>,
        expected: String,
        found: String,
    ) -> Error {
        Error::Header {
            path: self.path.to_owned(),
            offset: offset as u64,
            what: what.into(),
            expected,
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_though_the_file_goes_on() {
        let bytes = vec![0; MAX_HEADER + 1];
        let mut cursor = Cursor::new(Utf8Path::new("x.gguf"), &bytes);
        cursor.take(MAX_HEADER - 8, "padding").unwrap();
        assert_eq!(cursor.count(1, "a count").unwrap(), 0);
        let error = cursor.take(1, "one more").unwrap_err().to_string();
        assert!(error.contains("at most 134217728 bytes"), "{error}");
    }
}
