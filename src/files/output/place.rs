//! Where a file goes: its directory, what may be there already, and the room there is. Knows nothing of how it is written.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::{Error, FileId, os};

/// Bytes that may still be written to the file system of `directory`.
///
/// # Errors
/// [`Error::Refused`] if the file system does not say.
pub fn free_bytes(directory: &Utf8Path) -> Result<u64, Error> {
    os::free_bytes(directory.as_std_path()).map_err(|e| {
        Error::Refused(format!("cannot ask for the free disk space of {directory}: {e}"))
    })
}

/// The directory that holds `path`.
pub fn directory_of(path: &Utf8Path) -> &Utf8Path {
    match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    }
}

/// Opens an unfinished file, which is made where it is missing and `create` says so. Whatever else has
/// its name, a link above all, is not followed and stays as it is.
///
/// # Errors
/// [`io::ErrorKind::NotFound`]; others if it cannot be opened, or is no regular file.
pub fn open_unfinished(partial: &Utf8Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    let file = os::open_itself(&mut options, partial.as_std_path())?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file, and left as it is"));
    }
    Ok(file)
}

/// Opens or creates `partial` and locks it. The lock goes with the process, however it ends.
///
/// # Errors
/// [`Error::Refused`] if it cannot be opened or another process holds the lock.
pub fn open_locked(partial: &Utf8Path) -> Result<File, Error> {
    loop {
        let file = open_unfinished(partial, true)
            .map_err(|e| Error::Refused(format!("cannot write {partial}: {e}")))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Refused(format!(
                    "another process is writing {partial}; wait for it or stop it"
                )));
            }
            Err(TryLockError::Error(e)) => {
                return Err(Error::Refused(format!("cannot lock {partial}: {e}")));
            }
        }
        // Its last owner may have renamed or removed it between the opening and the lock.
        let ours =
            file.metadata().map_err(|e| Error::Refused(format!("cannot read {partial}: {e}")))?;
        if FileId::of(partial).is_ok_and(|id| id == os::id(&ours)) {
            return Ok(file);
        }
    }
}

/// Refuses a `path` that holds what is not to be replaced.
///
/// # Errors
/// [`Error::Name`] if it is anything but a regular file, or one and `replace` is false.
pub fn refuse_existing(path: &Utf8Path, replace: bool) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => {
            Err(Error::Name(format!("{path} is a directory; expected the name of a file to write")))
        }
        // A rename would put a file in the place of the device, the pipe or the link itself.
        Ok(m) if !m.is_file() => Err(Error::Name(format!(
            "{path} is {}; expected a regular file or a new name, so it is left as it is",
            if m.is_symlink() { "a symbolic link" } else { "a device, a pipe or a socket" }
        ))),
        Ok(_) if !replace => Err(exists(path)),
        _ => Ok(()),
    }
}

/// A name beside `path` that nothing has, for what is to be kept of it.
pub fn kept_name(path: &Utf8Path) -> Utf8PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%d_%H%M%S").to_string();
    let mut name = Utf8PathBuf::from(format!("{path}.kept-{now}"));
    let mut n = 2;
    while name.exists() {
        name = Utf8PathBuf::from(format!("{path}.kept-{now}-{n}"));
        n += 1;
    }
    name
}

/// What to say of a `path` that is taken.
pub fn exists(path: &Utf8Path) -> Error {
    Error::Name(format!("{path} exists already; --force replaces it, or choose another name"))
}
