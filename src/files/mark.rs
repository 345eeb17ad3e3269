//! Whose an unfinished file is: a mark in its name, so that nobody takes up or removes what another,
//! such as the workspace that this one was copied from, is in the middle of. Knows nothing of
//! workspaces.

use std::fmt;
use std::fs::TryLockError;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::output::open_unfinished;

/// Part of the names of somebody's unfinished files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark(String);

impl Default for Mark {
    /// That of commands that belong to no workspace, and of small files that are written in one go.
    fn default() -> Self {
        Self("qrun".to_owned())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mark {
    /// One that nobody else has.
    pub fn random() -> Self {
        Self(format!("{:08x}", rand::random::<u32>()))
    }

    /// What the file at `path` is called while it is unfinished.
    pub fn partial(&self, path: &Utf8Path) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{path}.{}.partial", self.0))
    }

    /// Removes the unfinished file of `path`, if there is one that nobody is writing; whether there
    /// was.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_partial(&self, path: &Utf8Path) -> io::Result<bool> {
        self.with_partial(path, |partial| std::fs::remove_file(partial))
    }

    /// Makes the unfinished file of `path` that of `other`, if there is one that nobody is writing;
    /// whether there was.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn pass_partial(&self, other: &Mark, path: &Utf8Path) -> io::Result<bool> {
        self.with_partial(path, |partial| std::fs::rename(partial, other.partial(path)))
    }

    /// Does something to the unfinished file of `path` under its lock: who waits for that finds that
    /// the file has another name or none.
    fn with_partial(
        &self,
        path: &Utf8Path,
        change: impl FnOnce(&Utf8Path) -> io::Result<()>,
    ) -> io::Result<bool> {
        let partial = self.partial(path);
        let file = match open_unfinished(&partial, false) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        match file.try_lock() {
            Ok(()) => change(&partial).map(|()| true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}
