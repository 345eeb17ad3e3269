//! Read-only memory maps of model files: the one place where a file becomes a byte slice. Knows
//! nothing of what the bytes mean.

use std::fs::File;
use std::io;
use std::ops::Range;

use camino::Utf8Path;
use memmap2::{Mmap, UncheckedAdvice};

/// A whole file, mapped read-only. Dereferences to its bytes.
///
/// A file that somebody truncates while it is mapped ends the process with `SIGBUS`; there is no
/// guard against that but running heavy work in a process of its own, which the runner does.
#[derive(Debug)]
pub struct Map {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped, or is no regular file.
    pub fn open(path: &Utf8Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the map is private to this process and read-only. Bytes that another process
        // changes underneath are read as plain integers, every value of which is valid, and are
        // checked before they are used as lengths or offsets.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map: Some(map) })
    }

    /// Gives the pages that lie wholly in `range` back to the kernel; the next access reads them
    /// from the file again. A refusal changes nothing but memory use, so it is not reported.
    pub fn release(&self, range: Range<usize>) {
        /// At least as large as any page; rounding to it leaves neighbours' pages alone.
        const PAGE: usize = 1 << 16;
        let Some(map) = &self.map else { return };
        let start = range.start.next_multiple_of(PAGE);
        let end = if range.end >= map.len() { map.len() } else { range.end / PAGE * PAGE };
        if start < end {
            // SAFETY: on a read-only file map MADV_DONTNEED loses nothing: there are no dirty
            // pages, and later reads fault the same bytes in from the file.
            let _ = unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
            };
        }
    }
}

/// Opens an input for reading. Whatever is no regular file is refused before it is opened: opening
/// a named pipe waits for a writer, for ever if there is none.
///
/// # Errors
/// If the file cannot be opened, or is a directory, a named pipe, a device or a socket.
pub fn open_regular(path: &Utf8Path) -> io::Result<File> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory, not a file"));
    }
    if !metadata.is_file() {
        let message = "is a named pipe, a device or a socket; expected a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    File::open(path)
}

impl std::ops::Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let pipe = dir.join("pipe");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(status.success());
        assert!(Map::open(&pipe).unwrap_err().to_string().contains("named pipe"));
        assert!(Map::open(dir).unwrap_err().to_string().contains("is a directory"));
    }
}
