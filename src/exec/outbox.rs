//! Where a worker leaves its success for the runner, who alone writes the database: one file per step
//! in the workspace, written whole or not at all. A `kill -9` of either loses nothing: what was
//! delivered is taken in when the next runner starts.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::order::Record;
use crate::files::{FileDigest, Stamp, write_atomic};
use crate::state;
use crate::steps::{ErrorClass, StepError};

/// A success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delivery {
    pub record: Record,
    pub result: Value,
    /// The files that the step wrote.
    pub outputs: Vec<Stamped>,
    /// The files whose digests it found.
    pub hashed: Vec<Stamped>,
    /// When it began, in ms since 1970.
    pub started_ms: i64,
    /// Its share of what it took together with others, so that times add up.
    pub duration_ms: i64,
    /// Of the worker process.
    pub peak_rss_bytes: Option<u64>,
}

/// A file with the stamp that it had when its digest was true of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stamped {
    #[serde(flatten)]
    pub file: FileDigest,
    /// Settled: a change since then shows. Absent where the file is gone or changed.
    pub stamp: Option<Stamp>,
}

impl Stamped {
    /// `file` as it stands there now, if it still has its length.
    pub fn now(file: FileDigest) -> Self {
        let stamp = Stamp::of(&file.path).ok().flatten();
        let stamp = stamp.filter(|stamp| stamp.bytes == file.bytes && stamp.settle());
        Self { file, stamp }
    }

    /// Whether it is still as it was.
    pub fn is_unchanged(&self) -> bool {
        self.stamp.is_some() && Stamp::of(&self.file.path).ok().flatten() == self.stamp
    }
}

impl Delivery {
    /// Leaves it in the outbox of its workspace.
    ///
    /// # Errors
    /// [`ErrorClass::Host`] if it cannot be written.
    pub fn leave(&self) -> Result<(), StepError> {
        let json = serde_json::to_vec(self).map_err(|e| {
            StepError::new(ErrorClass::Step, format!("cannot write the result as JSON: {e}"))
        })?;
        write_atomic(&path(&self.record), &json, true)?;
        Ok(())
    }

    /// The delivery at `path`; `None` where there is none, or none that this program reads.
    pub fn read(path: &Utf8Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

/// Where a success of the step of `record` is delivered: by its key, and by which step it is, for two
/// formats that differ in their names alone have one key.
pub fn path(record: &Record) -> Utf8PathBuf {
    let name = format!("{}.{}.json", record.key, record.short_name());
    state::directory(&record.workspace).join("outbox").join(name)
}

/// All that has been delivered and not taken in.
pub fn waiting(workspace: &Utf8Path) -> Vec<Utf8PathBuf> {
    let files = state::directory(workspace).join("outbox").read_dir_utf8().into_iter().flatten();
    let mut all: Vec<_> = files.filter_map(|entry| Some(entry.ok()?.into_path())).collect();
    all.retain(|path| path.extension() == Some("json") && path.is_file());
    all.sort();
    all
}
