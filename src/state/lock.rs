//! OS locks: one qrun per workspace, one worker per output. A kill frees them.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};

use camino::Utf8Path;

use super::StateError;

/// A lock that is held as long as the value lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What came of an attempt to lock.
#[derive(Debug)]
pub enum Attempt {
    Locked(Lock),
    /// Somebody else holds it: process and command, in words.
    HeldBy(String),
}

impl Lock {
    /// Tries to lock the file at `path`, made where it is missing, and leaves this process's
    /// number and `command` in it for those that come later.
    pub fn attempt(path: &Utf8Path, command: &str) -> Result<Attempt, StateError> {
        let io = |what| move |source| StateError::Io { what, path: path.to_owned(), source };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io("open the lock file"))?;
        match file.try_lock() {
            Ok(()) => {
                // Only for people: a lock whose holder cannot be named is still a lock.
                let _ = file
                    .set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "process {} ({command})", std::process::id()));
                Ok(Attempt::Locked(Lock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = (&mut file).take(4096).read_to_string(&mut holder);
                let holder = holder.trim();
                Ok(Attempt::HeldBy(if holder.is_empty() {
                    "a process that has not said its name yet".to_owned()
                } else {
                    holder.to_owned()
                }))
            }
            Err(TryLockError::Error(source)) => Err(io("lock")(source)),
        }
    }
}

/// Whether some process works in the workspace now.
pub fn is_busy(workspace: &Utf8Path) -> bool {
    let file = File::open(super::directory(workspace).join("lock"));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Locks the workspace for this process.
///
/// # Errors
/// [`StateError::Locked`] names the process that holds it.
pub fn lock_workspace(workspace: &Utf8Path, command: &str) -> Result<Lock, StateError> {
    let directory = super::directory(workspace);
    let path = directory.join("lock");
    std::fs::create_dir_all(&directory).map_err(|source| StateError::Io {
        what: "make the directory",
        path: directory,
        source,
    })?;
    match Lock::attempt(&path, command)? {
        Attempt::Locked(lock) => Ok(lock),
        Attempt::HeldBy(holder) => {
            Err(StateError::Locked { workspace: workspace.to_owned(), holder })
        }
    }
}
