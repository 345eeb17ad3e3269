//! How the state fails.

use camino::{Utf8Path, Utf8PathBuf};

use crate::steps::{ErrorClass, StepError};

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process works in this workspace.
    #[error(
        "another qrun works in {workspace}: {holder}; wait for it to end, or stop it (its lock goes with it)"
    )]
    Locked { workspace: Utf8PathBuf, holder: String },
    /// Written by a newer qrun.
    #[error("{}: `qrun run` keeps it aside and begins another, which loses speed, no results", self.what())]
    Newer { path: Utf8PathBuf, found: i64, known: i64 },
    /// Not a database, or a damaged one.
    #[error("{}: `qrun run` keeps it aside and begins another, which loses speed, no results", self.what())]
    Damaged { path: Utf8PathBuf, reason: String },
    /// The database refused; not the fault of its content.
    #[error("cannot use {path}: {source}")]
    Database { path: Utf8PathBuf, source: rusqlite::Error },
    /// A file or directory could not be used.
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: Utf8PathBuf, source: std::io::Error },
}

impl StateError {
    /// What is wrong, without what to do.
    pub fn what(&self) -> String {
        match self {
            Self::Newer { path, found, known } => format!(
                "{path} has layout {found}, written by a newer qrun; this one knows layouts up to \
                 {known}"
            ),
            Self::Damaged { path, reason } => format!("{path} is damaged ({reason})"),
            other => other.to_string(),
        }
    }

    /// Tells damage from other refusals of the database.
    pub(super) fn database(path: &Utf8Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = path.to_owned();
        match (source.sqlite_error_code(), &source) {
            (Some(DatabaseCorrupt | NotADatabase), _)
            | (
                None,
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..),
            ) => Self::Damaged { path, reason: source.to_string() },
            // A table or a column that should be there is not.
            (Some(rusqlite::ErrorCode::Unknown), rusqlite::Error::SqlInputError { msg, .. }) => {
                Self::Damaged { path, reason: msg.clone() }
            }
            (Some(rusqlite::ErrorCode::Unknown), rusqlite::Error::SqliteFailure(_, Some(msg)))
                if msg.starts_with("no such") =>
            {
                Self::Damaged { path, reason: msg.clone() }
            }
            _ => Self::Database { path, source },
        }
    }
}

impl From<StateError> for StepError {
    fn from(error: StateError) -> Self {
        let class = match error {
            StateError::Locked { .. } => ErrorClass::Step,
            _ => ErrorClass::Host,
        };
        StepError::from_error(class, &error)
    }
}
