//! What has been done in a workspace: digests of files, finished actions, runs, locks; all below
//! `.qrun/`. Knows nothing of what a step means, and holds no result that exists only here.

mod actions;
mod digests;
mod error;
mod identity;
mod lock;
mod places;
mod runs;
mod schema;
mod upkeep;

#[cfg(test)]
mod tests;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, OpenFlags, Row};
use serde::de::DeserializeOwned;

use crate::files::{Mark, kept_name};

pub use actions::{Action, Ingredient, Owner, Pending};
pub use error::StateError;
pub use lock::{Attempt, Lock, is_busy, lock_workspace};
pub use runs::{Outcome, Run, RunOutcome, Status};
pub use upkeep::{Holdings, Removed, Unfinished};

/// Where a workspace keeps its state.
pub fn directory(workspace: &Utf8Path) -> Utf8PathBuf {
    workspace.join(".qrun")
}

/// An open state.
pub struct State {
    db: Connection,
    directory: Utf8PathBuf,
    mark: Mark,
    writable: bool,
}

impl State {
    /// Opens the state of `workspace` for reading and writing, and makes it where there is none.
    ///
    /// # Errors
    /// If it is damaged, of a newer layout, or cannot be written.
    pub fn open(workspace: &Utf8Path) -> Result<Self, StateError> {
        let directory = directory(workspace);
        for sub in ["", "journals", "logs", "locks", "outbox"] {
            let path = directory.join(sub);
            std::fs::create_dir_all(&path).map_err(|source| StateError::Io {
                what: "make the directory",
                path,
                source,
            })?;
        }
        // What is in here can be made again and is nobody's source.
        let ignore = directory.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").map_err(|source| StateError::Io {
                what: "write",
                path: ignore,
                source,
            })?;
        }
        let (mark, before) = identity::take(&directory)?;
        let path = directory.join("state.db");
        let open = || {
            let mut db = Connection::open(&path)?;
            db.busy_timeout(std::time::Duration::from_secs(30))?;
            let version = schema::version(&db)?;
            if version < schema::CURRENT {
                db.pragma_update(None, "journal_mode", "wal")?;
                schema::migrate(&mut db, workspace)?;
            }
            // A record is committed after its file is durable, and must be durable itself.
            db.pragma_update(None, "synchronous", "full")?;
            db.pragma_update(None, "foreign_keys", true)?;
            Ok((db, version))
        };
        let (db, version) = open().map_err(|e| StateError::database(&path, e))?;
        check_version(&path, version)?;
        let state = Self { db, directory, mark, writable: true };
        if let Some(before) = before {
            state.adopt_unfinished(&before)?;
        }
        Ok(state)
    }

    /// [`State::open`] by whoever holds the workspace's lock: a database that is damaged, or of a newer
    /// qrun, is kept aside, and another begun. Says so, in words, if it did.
    ///
    /// # Errors
    /// As [`State::open`], or if it cannot be renamed.
    pub fn open_or_begin(workspace: &Utf8Path) -> Result<(Self, Option<String>), StateError> {
        let error = match Self::open(workspace) {
            Ok(state) => return Ok((state, None)),
            Err(error @ (StateError::Damaged { .. } | StateError::Newer { .. })) => error,
            Err(error) => return Err(error),
        };
        let path = directory(workspace).join("state.db");
        let kept = kept_name(&path);
        // What belongs to it goes with it, or the new one would be taken for its continuation.
        for suffix in ["", "-wal", "-shm"] {
            let from = Utf8PathBuf::from(format!("{path}{suffix}"));
            match std::fs::rename(&from, format!("{kept}{suffix}")) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StateError::Io { what: "rename", path: from, source });
                }
                _ => {}
            }
        }
        Ok((Self::open(workspace)?, Some(format!("{}; it is kept as {kept}", error.what()))))
    }

    /// Opens the state of `workspace` for reading; `None` where there is none yet. Changes nothing.
    ///
    /// # Errors
    /// As [`State::open`].
    pub fn open_read_only(workspace: &Utf8Path) -> Result<Option<Self>, StateError> {
        let directory = directory(workspace);
        let path = directory.join("state.db");
        if !path.exists() {
            return Ok(None);
        }
        // Without a write-ahead log nobody writes now, and SQLite need not make its shared-memory
        // file beside the database to coordinate with a writer.
        let quiet = !directory.join("state.db-wal").exists();
        let escaped = path.as_str().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let uri = format!("file:{escaped}?mode=ro{}", if quiet { "&immutable=1" } else { "" });
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let db = Connection::open_with_flags(&uri, flags)?;
            db.busy_timeout(std::time::Duration::from_secs(5))?;
            let version = schema::version(&db)?;
            Ok((db, version))
        };
        let (db, version) = open().map_err(|e| StateError::database(&path, e))?;
        check_version(&path, version)?;
        match version {
            schema::CURRENT => {
                let mark = identity::read(&directory).unwrap_or_else(Mark::random);
                Ok(Some(Self { db, directory, mark, writable: false }))
            }
            // A database that was made and not yet laid out knows nothing.
            0 => Ok(None),
            _ => Self::of_older_layout(&db, directory)
                .map(Some)
                .map_err(|e| StateError::database(&path, e)),
        }
    }

    /// Whether it was opened for writing.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// What `db` remembers, brought to this program's layout in memory.
    fn of_older_layout(db: &Connection, directory: Utf8PathBuf) -> rusqlite::Result<Self> {
        let mut copy = Connection::open_in_memory()?;
        rusqlite::backup::Backup::new(db, &mut copy)?.run_to_completion(
            1 << 20,
            std::time::Duration::ZERO,
            None,
        )?;
        schema::migrate(&mut copy, directory.parent().unwrap_or(Utf8Path::new("/")))?;
        let mark = identity::read(&directory).unwrap_or_else(Mark::random);
        Ok(Self { db: copy, directory, mark, writable: false })
    }

    /// That of this workspace's unfinished files.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// The workspace that it is the state of.
    fn workspace(&self) -> &Utf8Path {
        self.directory.parent().unwrap_or(Utf8Path::new("/"))
    }

    /// `.qrun` itself.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// Whether some process works in this workspace now.
    pub fn is_busy(&self) -> bool {
        is_busy(self.workspace())
    }

    /// The database file.
    pub fn path(&self) -> Utf8PathBuf {
        self.directory.join("state.db")
    }

    /// Directory for journals of unfinished outputs.
    pub fn journals(&self) -> Utf8PathBuf {
        self.directory.join("journals")
    }

    /// Directory for the logs of one run.
    pub fn logs(&self, run: i64) -> Utf8PathBuf {
        self.directory.join("logs").join(run.to_string())
    }

    /// Lets SQLite check its file; what it finds, one line each. Nothing means it is sound.
    pub fn check(&self) -> Result<Vec<String>, StateError> {
        self.query(|db| {
            let lines: Vec<String> = db
                .prepare("PRAGMA integrity_check")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok(if lines == ["ok"] { Vec::new() } else { lines })
        })
    }

    /// Gives space that is not used any more back to the file system.
    pub fn compact(&self) -> Result<(), StateError> {
        self.query(|db| db.execute_batch("VACUUM"))
    }

    fn query<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        work(&self.db).map_err(|e| StateError::database(&self.path(), e))
    }
}

fn check_version(path: &Utf8Path, found: i64) -> Result<(), StateError> {
    if (0..=schema::CURRENT).contains(&found) {
        return Ok(());
    }
    Err(StateError::Newer { path: path.to_owned(), found, known: schema::CURRENT })
}

/// A column that holds JSON.
fn decode<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
    })
}
