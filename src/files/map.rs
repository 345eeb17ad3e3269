//! Read-only memory maps of model files: the one place where a file becomes a byte slice, and where
//! its bytes are read without one. Knows nothing of what the bytes mean.
//!
//! A map is for what is read often or here and there. Bytes that are read once are better read
//! into memory that is there already: a map of 6 GB took 4.4 s of processor time to walk through,
//! [`Map::read`] 0.7 s, on a virtual machine where page faults are dear.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::OnceLock;

use camino::Utf8Path;
use memmap2::Mmap;

use super::os;

/// A whole file, mapped read-only. Dereferences to its bytes.
///
/// A file that somebody truncates while it is mapped ends the process with `SIGBUS`; there is no
/// guard against that but running heavy work in a process of its own, which the runner does.
#[derive(Debug)]
pub struct Map {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
    file: File,
    /// Whether most of the file was in the page cache before [`Map::forget`] was first called.
    was_cached: OnceLock<bool>,
}

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped, or is no regular file.
    pub fn open(path: &Utf8Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None, file, was_cached: OnceLock::new() });
        }
        // SAFETY: the map is private to this process and read-only. Bytes that another process
        // changes underneath are read as plain integers, every value of which is valid, and are
        // checked before they are used as lengths or offsets.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map: Some(map), file, was_cached: OnceLock::new() })
    }

    /// Fills `out` with the bytes of the file from `offset` on, without touching the map.
    ///
    /// # Errors
    /// If the disk reports an error or the file is shorter by now.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> io::Result<()> {
        os::read_exact_at(&self.file, out, offset as u64).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => cut(),
            _ => e,
        })
    }

    /// The bytes of `range`, in memory of their own, without touching the map.
    ///
    /// # Errors
    /// As [`Map::read`].
    pub fn read_range(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(range.len());
        while bytes.len() < range.len() {
            let at = (range.start + bytes.len()) as u64;
            if os::read_into(&self.file, &mut bytes, at)? == 0 {
                return Err(cut());
            }
        }
        // The allocator may have given more.
        bytes.truncate(range.len());
        Ok(bytes)
    }

    /// Asks for pages of 2 MiB, for who reads the map over and over: the kernel reads what is not in the
    /// page cache yet in pieces of that size, if the file system can, and maps each as one. A refusal
    /// changes nothing but speed.
    ///
    /// Tokens of the 20b, whose file was dropped from the page cache before, in turns: 11.0 and 10.5 a
    /// second without, when a twelfth of them were in such pages, 12.7 and 11.7 with it. Peak RSS after a
    /// prompt of two tokens 9.1 and 10.0 GB.
    pub fn prefer_huge_pages(&self) {
        if let Some(map) = &self.map {
            os::prefer_huge_pages(map);
        }
    }

    /// Gives the pages of `range` back to the kernel; the next access maps them again, as it does
    /// those of a neighbour that go with them. A refusal changes nothing but memory use, so it is
    /// not reported.
    pub fn release(&self, range: Range<usize>) {
        if let Some((map, start, length)) = self.pages(range) {
            os::release(map, start, length);
        }
    }

    /// As [`Map::release`], and lets the page cache drop the bytes too, unless the file was in it
    /// before: somebody may go on needing it.
    pub fn forget(&self, range: Range<usize>) {
        /// The page cache keeps a file in pieces of up to so many bytes, and drops whole ones only:
        /// the piece that the range before ended in goes with this one.
        const PIECE: usize = 4 << 20;
        self.release(range.clone());
        let start = range.start.saturating_sub(PIECE);
        if let Some(length) = NonZeroU64::new((range.end - start) as u64)
            && !*self.was_cached.get_or_init(|| self.is_cached())
        {
            os::drop_cached(&self.file, start as u64, length);
        }
    }

    /// Whether more than half of some bytes, evenly spread, can be had without the disk.
    fn is_cached(&self) -> bool {
        const SAMPLES: usize = 64;
        let cached =
            |sample: usize| os::is_cached_at(&self.file, (self.len() / SAMPLES * sample) as u64);
        (0..SAMPLES).filter(|&sample| cached(sample)).count() > SAMPLES / 2
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

/// Why bytes that were there are there no more.
fn cut() -> io::Error {
    let message = "the file is shorter than when it was opened; run again when nobody writes to it";
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
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

    #[test]
    fn a_file_that_is_cut_meanwhile_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("x");
        std::fs::write(&path, [7; 20_000]).unwrap();
        let map = Map::open(&path).unwrap();
        let mut out = [0; 100];
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10_050).unwrap();
        map.read(9_950, &mut out).unwrap();
        assert_eq!(out, [7; 100]);
        assert_eq!(map.read_range(9_950..10_050).unwrap(), [7; 100]);
        let errors = [map.read(9_951, &mut out), map.read_range(0..10_051).map(drop)];
        for error in errors.map(Result::unwrap_err) {
            assert!(error.to_string().contains("shorter than when it was opened"), "{error}");
        }
    }
}
