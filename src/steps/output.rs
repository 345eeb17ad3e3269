//! Files that appear whole or not at all: written as `NAME.partial`, hashed on the way, flushed to
//! the disk, then renamed. Knows nothing of what is written.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Advice, CWD, RenameFlags, copy_file_range};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{ErrorClass, FileDigest, StepError};

/// A file that is being written. Dropped before [`Output::finish`] it leaves nothing behind, or,
/// after [`Output::keep_partial`], its `NAME.partial`.
#[derive(Debug)]
pub struct Output {
    path: Utf8PathBuf,
    partial: Utf8PathBuf,
    /// Locked, so that two processes never write one file.
    file: File,
    hasher: Sha256,
    written: u64,
    /// Whether the kernel has not yet refused to copy into it.
    kernel_copies: bool,
    replace: bool,
    keep: bool,
    finished: bool,
}

impl Output {
    /// Starts `path` anew, with the directories it needs. `expected_bytes` is held against the free
    /// space of the file system.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`] if `path` exists and `replace` is false; [`ErrorClass::Host`] if it
    /// cannot be written, the disk is too full or another process is writing it.
    pub fn create(path: &Utf8Path, expected_bytes: u64, replace: bool) -> Result<Self, StepError> {
        Self::resume(path, expected_bytes, replace, |_| 0)
    }

    /// Goes on with the `NAME.partial` of a killed run: `vouched` looks at it and says how many
    /// bytes from its start are good; those are kept and hashed again.
    ///
    /// # Errors
    /// As [`Output::create`].
    pub fn resume(
        path: &Utf8Path,
        expected_bytes: u64,
        replace: bool,
        vouched: impl FnOnce(&File) -> u64,
    ) -> Result<Self, StepError> {
        refuse_existing(path, replace)?;
        let directory = directory_of(path);
        fs::create_dir_all(directory)
            .map_err(|e| host(format!("cannot create the directory {directory}: {e}")))?;
        let partial = partial_path(path);
        let file = open_locked(&partial)?;
        let keep_bytes = vouched(&file);
        let mut output = Self {
            path: path.to_owned(),
            partial,
            file,
            hasher: Sha256::new(),
            written: 0,
            kernel_copies: true,
            replace,
            keep: false,
            finished: false,
        };
        output.keep_prefix(keep_bytes).map_err(|e| output.write_error(&e))?;
        // What a killed run left is not lost to a full disk.
        output.keep = output.written > 0;
        output.check_free_space(expected_bytes)?;
        output.keep = false;
        Ok(output)
    }

    /// Hashes the first `bytes` bytes, or none where there are fewer, and cuts the file off there.
    fn keep_prefix(&mut self, bytes: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        if bytes <= self.file.metadata()?.len() {
            let mut buffer = vec![0; 1 << 20];
            while self.written < bytes {
                let n = buffer.len().min((bytes - self.written) as usize);
                self.file.read_exact(&mut buffer[..n])?;
                self.hasher.update(&buffer[..n]);
                self.written += n as u64;
            }
        }
        self.file.set_len(self.written)?;
        self.file.seek(SeekFrom::Start(self.written))?;
        Ok(())
    }

    fn check_free_space(&self, expected_bytes: u64) -> Result<(), StepError> {
        let directory = directory_of(&self.path);
        let available = free_bytes(directory)?;
        let needed = expected_bytes.saturating_sub(self.written);
        if needed > available {
            return Err(host(format!(
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
    /// [`ErrorClass::Host`] if they cannot be written, for example because the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StepError> {
        self.append(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Appends `bytes`, which the caller hashes: see [`Output::take_hasher`].
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StepError> {
        self.file.write_all(bytes).map_err(|e| self.write_error(&e))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Appends `bytes`, which are those of `from` from `offset` on, as [`Output::append`] does; the
    /// kernel copies them where it can.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn append_copy(&mut self, bytes: &[u8], from: &File, offset: u64) -> Result<(), StepError> {
        let mut done = 0;
        while self.kernel_copies && done < bytes.len() {
            let mut at = offset + done as u64;
            match copy_file_range(from, Some(&mut at), &self.file, None, bytes.len() - done) {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    self.written += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => {
                    return Err(self.write_error(&e.into()));
                }
                // Another file system, or one that cannot: nothing is lost but time.
                Err(_) => self.kernel_copies = false,
            }
        }
        self.append(&bytes[done..])
    }

    /// The hash of what has been written so far, for a caller that goes on hashing in a thread of
    /// its own while it appends, and ends with [`Output::finish_hashed`].
    pub fn take_hasher(&mut self) -> Sha256 {
        std::mem::take(&mut self.hasher)
    }

    /// Flushes the file, for another thread than the one that writes it.
    ///
    /// # Errors
    /// [`ErrorClass::Host`] if there are no more file descriptors.
    pub fn flusher(&self) -> Result<Flusher, StepError> {
        let file = self.file.try_clone().map_err(|e| self.write_error(&e))?;
        Ok(Flusher { file, partial: self.partial.clone() })
    }

    /// Bytes in the file so far, those kept by [`Output::resume`] included.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Lower-case hexadecimal SHA-256 of what has been written so far.
    pub fn sha256(&self) -> String {
        hex::encode(self.hasher.clone().finalize())
    }

    /// From here on a failure leaves `NAME.partial` for the next run to continue.
    pub fn keep_partial(&mut self) {
        self.keep = true;
    }

    /// Makes the file durable and gives it its final name.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`] if the name has been taken since; [`ErrorClass::Host`] if the file
    /// cannot be flushed or renamed.
    pub fn finish(mut self) -> Result<FileDigest, StepError> {
        let hasher = self.take_hasher();
        self.finish_hashed(hasher)
    }

    /// [`Output::finish`] where `hasher` has been fed all that was appended.
    ///
    /// # Errors
    /// As [`Output::finish`].
    pub fn finish_hashed(mut self, hasher: Sha256) -> Result<FileDigest, StepError> {
        self.file.sync_all().map_err(|e| self.write_error(&e))?;
        self.rename()?;
        self.finished = true;
        let directory = directory_of(&self.path);
        File::open(directory)
            .and_then(|d| d.sync_all())
            .map_err(|e| host(format!("cannot flush the directory {directory}: {e}")))?;
        let sha256 = hex::encode(hasher.finalize());
        Ok(FileDigest { path: self.path.clone(), bytes: self.written, sha256 })
    }

    fn rename(&self) -> Result<(), StepError> {
        let (from, to) = (self.partial.as_std_path(), self.path.as_std_path());
        if !self.replace {
            match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => return Err(exists(&self.path)),
                // The file system does not know the flag; the check below leaves a short window.
                Err(Errno::INVAL | Errno::NOSYS) => refuse_existing(&self.path, false)?,
                Err(e) => return Err(self.rename_error(e.into())),
            }
        }
        fs::rename(from, to).map_err(|e| self.rename_error(e))
    }

    fn rename_error(&self, error: io::Error) -> StepError {
        host(format!("cannot rename {} to {}: {error}", self.partial, self.path))
    }

    fn write_error(&self, error: &io::Error) -> StepError {
        write_error(&format!("{} beyond byte {}", self.partial, self.written), error)
    }
}

/// Sends what has been written of an [`Output`] to the disk. Knows nothing of what is to come.
#[derive(Debug)]
pub struct Flusher {
    file: File,
    partial: Utf8PathBuf,
}

impl Flusher {
    /// Has the kernel begin to write these bytes of the file, so that nobody waits for all of them
    /// at the end. What it cannot begin is written when the file is flushed.
    pub fn begin(&self, bytes: Range<u64>) {
        // DONTNEED starts the writing of pages that are dirty, as sync_file_range does, and frees
        // only those that are not.
        if let Some(length) = NonZeroU64::new(bytes.end.saturating_sub(bytes.start)) {
            let _ = rustix::fs::fadvise(&self.file, bytes.start, Some(length), Advice::DontNeed);
        }
    }

    /// Waits until what has been written is on the disk.
    ///
    /// # Errors
    /// [`ErrorClass::Host`] if the disk reports an error.
    pub fn sync(&self) -> Result<(), StepError> {
        self.file.sync_data().map_err(|e| write_error(self.partial.as_str(), &e))
    }
}

/// What to say of a write that failed `at` a file or a place in it.
fn write_error(at: &str, error: &io::Error) -> StepError {
    let what = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space and run again"
        }
        _ => "the file system refuses",
    };
    host(format!("cannot write {at}: {what}: {error}"))
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished && !self.keep {
            // Nothing can be done about a failure here, and the next run truncates what is left.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes `bytes` to `path` so that `path` holds the old content or the new, never a part.
///
/// # Errors
/// As [`Output::create`].
pub fn write_atomic(path: &Utf8Path, bytes: &[u8], replace: bool) -> Result<FileDigest, StepError> {
    let mut output = Output::create(path, bytes.len() as u64, replace)?;
    output.write(bytes)?;
    output.finish()
}

/// `NAME.partial` beside `path`.
pub fn partial_path(path: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}.partial"))
}

/// Bytes that may still be written to the file system of `directory`.
///
/// # Errors
/// [`ErrorClass::Host`] if the file system does not say.
pub fn free_bytes(directory: &Utf8Path) -> Result<u64, StepError> {
    let stat = rustix::fs::statvfs(directory.as_std_path())
        .map_err(|e| host(format!("cannot ask for the free disk space of {directory}: {e}")))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The directory that holds `path`.
fn directory_of(path: &Utf8Path) -> &Utf8Path {
    match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    }
}

/// Opens or creates `partial` and locks it. The lock goes with the process, however it ends.
fn open_locked(partial: &Utf8Path) -> Result<File, StepError> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(partial)
            .map_err(|e| host(format!("cannot write {partial}: {e}")))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(host(format!(
                    "another process is writing {partial}; wait for it or stop it"
                )));
            }
            Err(TryLockError::Error(e)) => {
                return Err(host(format!("cannot lock {partial}: {e}")));
            }
        }
        // Its last owner may have renamed or removed it between the opening and the lock.
        let ours = file.metadata().map_err(|e| host(format!("cannot read {partial}: {e}")))?;
        if fs::metadata(partial).is_ok_and(|m| (m.dev(), m.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

fn refuse_existing(path: &Utf8Path, replace: bool) -> Result<(), StepError> {
    match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => Err(StepError::new(
            ErrorClass::Usage,
            format!("{path} is a directory; expected the name of a file to write"),
        )),
        // A rename would put a file in the place of the device, the pipe or the link itself.
        Ok(m) if !m.is_file() => Err(StepError::new(
            ErrorClass::Usage,
            format!(
                "{path} is {}; expected a regular file or a new name, so it is left as it is",
                if m.is_symlink() { "a symbolic link" } else { "a device, a pipe or a socket" }
            ),
        )),
        Ok(_) if !replace => Err(exists(path)),
        _ => Ok(()),
    }
}

fn exists(path: &Utf8Path) -> StepError {
    StepError::new(
        ErrorClass::Usage,
        format!("{path} exists already; --force replaces it, or choose another name"),
    )
}

fn host(message: String) -> StepError {
    StepError::new(ErrorClass::Host, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    fn names(dir: &Utf8Path) -> Vec<String> {
        let mut names: Vec<_> =
            dir.read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn appears_whole_under_its_name() {
        let (_guard, dir) = directory();
        let path = dir.join("new/x.bin");
        let mut output = Output::create(&path, 3, false).unwrap();
        output.write(b"ab").unwrap();
        assert_eq!(names(&dir.join("new")), ["x.bin.partial"]);
        output.write(b"c").unwrap();
        let digest = output.finish().unwrap();
        assert_eq!((digest.bytes, digest.sha256.as_str()), (3, ABC));
        assert_eq!(names(&dir.join("new")), ["x.bin"]);
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn refuses_to_replace_unless_told() {
        let (_guard, dir) = directory();
        let path = dir.join("x");
        write_atomic(&path, b"old", false).unwrap();
        let error = write_atomic(&path, b"abc", false).unwrap_err();
        assert_eq!(error.class, ErrorClass::Usage);
        assert!(error.message.contains("--force"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(write_atomic(&path, b"abc", true).unwrap().sha256, ABC);
        assert_eq!(fs::read(&path).unwrap(), b"abc");

        let output = Output::create(&dir.join("y"), 0, false).unwrap();
        fs::write(dir.join("y"), b"somebody else's").unwrap();
        assert_eq!(output.finish().unwrap_err().class, ErrorClass::Usage);
        assert_eq!(fs::read(dir.join("y")).unwrap(), b"somebody else's");
    }

    #[test]
    fn a_failure_leaves_nothing_or_the_partial() {
        let (_guard, dir) = directory();
        let path = dir.join("x");
        let mut output = Output::create(&path, 3, false).unwrap();
        output.write(b"ab").unwrap();
        drop(output);
        assert!(names(&dir).is_empty());

        let mut output = Output::create(&path, 3, false).unwrap();
        output.write(b"abX").unwrap();
        output.keep_partial();
        drop(output);
        assert_eq!(names(&dir), ["x.partial"]);
        let mut output = Output::resume(&path, 3, false, |_| 2).unwrap();
        assert_eq!(output.written(), 2);
        output.write(b"c").unwrap();
        assert_eq!(output.finish().unwrap().sha256, ABC);
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn what_is_copied_counts_as_what_is_written() {
        let (_guard, dir) = directory();
        fs::write(dir.join("from"), b"xxabcyy").unwrap();
        let from = File::open(dir.join("from")).unwrap();
        for kernel_copies in [true, false] {
            let mut output = Output::create(&dir.join("x"), 3, true).unwrap();
            output.kernel_copies = kernel_copies;
            output.append(b"a").unwrap();
            output.append_copy(b"bc", &from, 3).unwrap();
            assert_eq!(output.written(), 3);
            let mut hasher = output.take_hasher();
            hasher.update(b"abc");
            let flusher = output.flusher().unwrap();
            flusher.begin(0..3);
            flusher.sync().unwrap();
            assert_eq!(output.finish_hashed(hasher).unwrap().sha256, ABC);
            assert_eq!(fs::read(dir.join("x")).unwrap(), b"abc");
        }
        // A descriptor that cannot be copied from is written from memory.
        let mut output = Output::create(&dir.join("y"), 3, false).unwrap();
        output.append_copy(b"abc", &File::open(&dir).unwrap(), 0).unwrap();
        assert!(!output.kernel_copies);
        drop(output.flusher().unwrap());
        output.finish().unwrap();
        assert_eq!(fs::read(dir.join("y")).unwrap(), b"abc");
    }

    #[test]
    fn resuming_beyond_what_is_there_starts_anew() {
        let (_guard, dir) = directory();
        fs::write(dir.join("x.partial"), b"a").unwrap();
        let output = Output::resume(&dir.join("x"), 3, false, |_| 2).unwrap();
        assert_eq!(output.written(), 0);
    }

    #[test]
    fn what_the_host_cannot_do() {
        let (_guard, dir) = directory();
        let error = Output::create(&dir.join("x"), u64::MAX, false).unwrap_err();
        assert_eq!(error.class, ErrorClass::Host);
        assert!(error.message.contains(&format!("{} bytes are needed", u64::MAX)), "{error}");
        assert!(names(&dir).is_empty());

        let first = Output::create(&dir.join("x"), 0, false).unwrap();
        let error = Output::create(&dir.join("x"), 0, false).unwrap_err();
        assert!(error.message.contains("another process is writing"), "{error}");
        drop(first);

        fs::write(dir.join("file"), b"").unwrap();
        let error = write_atomic(&dir.join("file/x"), b"", false).unwrap_err();
        assert_eq!(error.class, ErrorClass::Host);
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        let error = write_atomic(&dir.join("link"), b"", true).unwrap_err();
        assert!(error.message.contains("is a symbolic link"), "{error}");
        let error = write_atomic(&dir, b"", true).unwrap_err();
        assert!(error.message.contains("is a directory"), "{error}");
    }
}
