//! Files that appear whole or not at all: written as `NAME.MARK.partial`, hashed on the way, flushed
//! to the disk, then renamed. Knows nothing of what is written.

mod blocks;
mod place;

use std::fs::{self, File};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::{Error, FileDigest, Mark, os};
use blocks::Blocks;
use place::{directory_of, exists, open_locked};
pub use place::{free_bytes, kept_name, open_unfinished, refuse_existing};

/// A file that is being written. Dropped before [`Output::finish`] it leaves nothing behind, or,
/// after [`Output::keep_partial`], its unfinished file.
#[derive(Debug)]
pub struct Output {
    path: Utf8PathBuf,
    partial: Utf8PathBuf,
    /// Locked, so that two processes never write one file.
    blocks: Blocks,
    hasher: Sha256,
    replace: bool,
    keep: bool,
    finished: bool,
}

/// The start of a file, by its length and its hash.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    /// Bytes.
    pub bytes: u64,
    /// Has been fed these bytes.
    pub hasher: Sha256,
}

impl Output {
    /// Starts `path` anew, with the directories it needs; `mark` says whose it is. `expected_bytes` is held against the free
    /// space of the file system.
    ///
    /// # Errors
    /// [`Error::Name`] if `path` exists and `replace` is false; [`Error::Refused`] if it
    /// cannot be written, the disk is too full or another process is writing it.
    pub fn create(
        path: &Utf8Path,
        mark: &Mark,
        expected_bytes: u64,
        replace: bool,
    ) -> Result<Self, Error> {
        Self::resume(path, mark, expected_bytes, replace, |_| Ok::<_, Error>(Prefix::default()))
    }

    /// Goes on with the unfinished file of a killed run: `vouched` looks at it and says how much of
    /// its start is good, at most the whole; the rest is cut off.
    ///
    /// # Errors
    /// As [`Output::create`]; those of `vouched`, which leave the file as it was.
    pub fn resume<E: From<Error>>(
        path: &Utf8Path,
        mark: &Mark,
        expected_bytes: u64,
        replace: bool,
        vouched: impl FnOnce(&File) -> Result<Prefix, E>,
    ) -> Result<Self, E> {
        refuse_existing(path, replace)?;
        let directory = directory_of(path);
        fs::create_dir_all(directory)
            .map_err(|e| Error::Refused(format!("cannot create the directory {directory}: {e}")))?;
        let partial = mark.partial(path);
        let file = open_locked(&partial)?;
        let Prefix { bytes, hasher } = vouched(&file)?;
        let blocks = Blocks::behind(file, bytes, expected_bytes)
            .map_err(|e| write_error(&partial, bytes, &e))?;
        let (path, finished) = (path.to_owned(), false);
        // What a killed run left is not lost to a full disk.
        let keep = bytes > 0;
        let mut output = Self { path, partial, blocks, hasher, replace, keep, finished };
        output.check_free_space(expected_bytes)?;
        output.keep = false;
        Ok(output)
    }

    fn check_free_space(&self, expected_bytes: u64) -> Result<(), Error> {
        let directory = directory_of(&self.path);
        let available = free_bytes(directory)?;
        let needed = expected_bytes.saturating_sub(self.written());
        if needed > available {
            return Err(Error::Refused(format!(
                "not enough free disk space in {directory} for {}: {needed} bytes are needed, \
                 {available} are available; free some or choose another place",
                self.path
            )));
        }
        Ok(())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`Error::Refused`] if the disk is full or another write fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.append(bytes)
    }

    /// Appends `bytes`, which the caller hashes; see [`Output::take_hasher`].
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.blocks.append(bytes).map_err(|e| write_error(&self.partial, self.blocks.in_file(), &e))
    }

    /// The hash of what has been written so far, for a caller that goes on hashing in a thread of
    /// its own while it appends, and ends with [`Output::finish_hashed`].
    pub fn take_hasher(&mut self) -> Sha256 {
        std::mem::take(&mut self.hasher)
    }

    /// Flushes the file, for another thread than the one that writes it.
    ///
    /// # Errors
    /// [`Error::Refused`] if there are no more file descriptors.
    pub fn flusher(&self) -> Result<Flusher, Error> {
        let (partial, bytes) = (self.partial.clone(), self.blocks.in_file());
        let file = self.blocks.file().try_clone().map_err(|e| write_error(&partial, bytes, &e))?;
        Ok(Flusher { file, partial })
    }

    /// Bytes written so far, those kept by [`Output::resume`] included.
    pub fn written(&self) -> u64 {
        self.blocks.written()
    }

    /// Of the bytes written those that have been given to the kernel; the others wait until they
    /// are enough to be written at once.
    pub fn in_file(&self) -> u64 {
        self.blocks.in_file()
    }

    /// Gives all that was written to the kernel, for a caller that will not write more.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn drain(&mut self) -> Result<(), Error> {
        self.blocks.drain().map_err(|e| write_error(&self.partial, self.blocks.in_file(), &e))
    }

    /// Lower-case hexadecimal SHA-256 of what has been written so far.
    pub fn sha256(&self) -> String {
        hex::encode(self.hasher.clone().finalize())
    }

    /// From here on a failure leaves the unfinished file for the next run to continue.
    pub fn keep_partial(&mut self) {
        self.keep = true;
    }

    /// Makes the file durable and gives it its final name.
    ///
    /// # Errors
    /// [`Error::Name`] if the name has been taken since; [`Error::Refused`] if the file
    /// cannot be flushed or renamed.
    pub fn finish(mut self) -> Result<FileDigest, Error> {
        let hasher = self.take_hasher();
        self.finish_hashed(hasher)
    }

    /// [`Output::finish`] where `hasher` has been fed all that was appended.
    ///
    /// # Errors
    /// As [`Output::finish`].
    pub fn finish_hashed(mut self, hasher: Sha256) -> Result<FileDigest, Error> {
        self.drain()?;
        let bytes = self.written();
        self.settle(bytes)?;
        let sha256 = hex::encode(hasher.finalize());
        Ok(FileDigest { path: self.path.clone(), bytes, sha256 })
    }

    /// [`Output::finish`] for an output that `fill` fills in one go, such as by letting it share
    /// another file's blocks. Returns its length; `None`, and nothing is left, where `fill` cannot.
    /// What is in the file is for the caller to know.
    ///
    /// # Errors
    /// As [`Output::finish`], or those of `check`, which looks at the file before it gets its name.
    pub fn finish_filled<E: From<Error>>(
        mut self,
        fill: impl FnOnce(&File) -> io::Result<()>,
        check: impl FnOnce(&Utf8Path) -> Result<(), E>,
    ) -> Result<Option<u64>, E> {
        // Whatever it is that cannot be done this way can be written, or fails again.
        if fill(self.blocks.file()).is_err() {
            return Ok(None);
        }
        check(&self.partial)?;
        let metadata = self.blocks.file().metadata();
        let bytes = metadata.map_err(|e| write_error(&self.partial, 0, &e))?.len();
        self.settle(bytes)?;
        Ok(Some(bytes))
    }

    /// Makes the `bytes` in the file durable and gives it its final name.
    fn settle(&mut self, bytes: u64) -> Result<(), Error> {
        self.blocks.file().sync_all().map_err(|e| write_error(&self.partial, bytes, &e))?;
        self.rename()?;
        self.finished = true;
        let directory = directory_of(&self.path);
        File::open(directory)
            .and_then(|d| d.sync_all())
            .map_err(|e| Error::Refused(format!("cannot flush the directory {directory}: {e}")))
    }

    fn rename(&self) -> Result<(), Error> {
        let (from, to) = (self.partial.as_std_path(), self.path.as_std_path());
        if !self.replace {
            match os::rename_new(from, to) {
                Ok(()) => return Ok(()),
                Err(e) => match e.kind() {
                    io::ErrorKind::AlreadyExists => return Err(exists(&self.path)),
                    // The check here leaves a short window.
                    io::ErrorKind::Unsupported => refuse_existing(&self.path, false)?,
                    _ => return Err(self.rename_error(e)),
                },
            }
        }
        fs::rename(from, to).map_err(|e| self.rename_error(e))
    }

    fn rename_error(&self, error: io::Error) -> Error {
        Error::Refused(format!("cannot rename {} to {}: {error}", self.partial, self.path))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the next run looks at what is left.
        if self.keep {
            let _ = self.blocks.drain();
        } else if !self.finished {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Makes durable what of an [`Output`] is in its file. Knows nothing of what is to come.
#[derive(Debug)]
pub struct Flusher {
    file: File,
    partial: Utf8PathBuf,
}

impl Flusher {
    /// Waits until what is in the file is on the disk.
    ///
    /// # Errors
    /// [`Error::Refused`] if the disk reports an error.
    pub fn sync(&self) -> Result<(), Error> {
        self.file
            .sync_data()
            .map_err(|e| Error::Refused(format!("cannot flush {} to the disk: {e}", self.partial)))
    }
}

/// Writes `bytes` to `path` so that `path` holds the old content or the new, never a part.
///
/// # Errors
/// As [`Output::create`].
pub fn write_atomic(path: &Utf8Path, bytes: &[u8], replace: bool) -> Result<FileDigest, Error> {
    let mut output = Output::create(path, &Mark::default(), bytes.len() as u64, replace)?;
    output.write(bytes)?;
    output.finish()
}

/// What to say of a write to `partial` that failed beyond `bytes` bytes.
fn write_error(partial: &Utf8Path, bytes: u64, error: &io::Error) -> Error {
    let what = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space and run again"
        }
        _ => "the file system refuses",
    };
    Error::Refused(format!("cannot write {partial} beyond byte {bytes}: {what}: {error}"))
}

#[cfg(test)]
mod tests;
