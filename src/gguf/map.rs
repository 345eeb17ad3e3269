//! Read-only memory maps of model files: the one place where a file becomes a byte slice. Knows
//! nothing of what the bytes mean.

use std::fs::File;
use std::io;
use std::ops::Range;

use camino::Utf8Path;
use memmap2::{Advice, Mmap, UncheckedAdvice};

/// A whole file, mapped read-only. Dereferences to its bytes.
///
/// A file that somebody truncates while it is mapped ends the process with `SIGBUS`; there is no
/// guard against that but running heavy work in a process of its own, which the runner does.
#[derive(Debug)]
pub struct Map {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
    file: File,
}

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped, or is no regular file.
    pub fn open(path: &Utf8Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None, file });
        }
        // SAFETY: the map is private to this process and read-only. Bytes that another process
        // changes underneath are read as plain integers, every value of which is valid, and are
        // checked before they are used as lengths or offsets.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map: Some(map), file })
    }

    /// The file itself, for the kernel to copy from.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the pages of `range` back to the kernel; the next access maps them again, as it does
    /// those of a neighbour that go with them. A refusal changes nothing but memory use, so it is
    /// not reported.
    pub fn release(&self, range: Range<usize>) {
        if let Some((map, start, length)) = self.pages(range) {
            // SAFETY: on a read-only file map MADV_DONTNEED loses nothing: there are no dirty
            // pages, and later reads fault the same bytes in from the file.
            let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, length) };
        }
    }

    /// Has the kernel begin to read the pages of `range`. A refusal costs time only.
    pub fn prefetch(&self, range: Range<usize>) {
        if let Some((map, start, length)) = self.pages(range) {
            let _ = map.advise_range(Advice::WillNeed, start, length);
        }
    }

    /// The pages that `range` touches: the map, where in it they start, and their bytes.
    fn pages(&self, range: Range<usize>) -> Option<(&Mmap, usize, usize)> {
        /// A multiple of the size of any page.
        const PAGE: usize = 1 << 16;
        let map = self.map.as_ref()?;
        let start = range.start / PAGE * PAGE;
        let end = range.end.next_multiple_of(PAGE).min(map.len());
        (start < end).then(|| (map, start, end - start))
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
