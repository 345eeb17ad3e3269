//! What the state holds and what of it nobody needs any more.

use std::collections::BTreeSet;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::{State, StateError};
use crate::files::Mark;
/// What the state holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holdings {
    pub directory: Utf8PathBuf,
    pub database_bytes: u64,
    pub logs_bytes: u64,
    pub journals_bytes: u64,
    pub digests: usize,
    pub actions: usize,
    pub runs: usize,
    /// Outputs that were begun and not finished, with the bytes that are there.
    pub unfinished: Vec<Unfinished>,
}

/// An output that was begun and not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    pub job: String,
    pub step: String,
    /// The unfinished file.
    pub path: Utf8PathBuf,
    /// What it would have become.
    pub output: Utf8PathBuf,
    pub bytes: u64,
}

/// What upkeep removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Digests of files that are gone.
    pub digests: usize,
    /// Successes whose outputs are gone and that a later success of their step replaced.
    pub actions: usize,
    /// Runs before the last ones, with their logs.
    pub runs: usize,
    /// Unfinished outputs, with their journals.
    pub unfinished: Vec<Utf8PathBuf>,
    pub bytes: u64,
}

impl State {
    /// Adds up what is there.
    pub fn holdings(&self) -> Result<Holdings, StateError> {
        let in_directory = |name: &str| tree_bytes(&self.directory.join(name));
        let database = ["state.db", "state.db-wal", "state.db-shm"];
        Ok(Holdings {
            directory: self.directory.clone(),
            database_bytes: database.iter().map(|name| in_directory(name)).sum(),
            logs_bytes: in_directory("logs"),
            journals_bytes: in_directory("journals"),
            digests: self.digest_paths()?.len(),
            actions: self.actions()?.len(),
            runs: self.runs()?.len(),
            unfinished: self.unfinished()?,
        })
    }

    fn unfinished(&self) -> Result<Vec<Unfinished>, StateError> {
        let mut list = Vec::new();
        for pending in self.all_pending()? {
            for output in pending.outputs {
                let path = self.mark().partial(&output);
                if let Ok(meta) = fs::metadata(&path) {
                    let (job, step) = (pending.job.clone(), pending.step.clone());
                    list.push(Unfinished { job, step, path, output, bytes: meta.len() });
                }
            }
        }
        Ok(list)
    }

    /// Makes this workspace's own what stands in it unfinished under the mark of the one that it was
    /// copied from, and that nobody is writing.
    pub(super) fn adopt_unfinished(&self, before: &Mark) -> Result<(), StateError> {
        let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
        let workspace = real(self.workspace());
        for output in self.all_pending()?.into_iter().flat_map(|pending| pending.outputs) {
            // A linked folder is where the original's files are.
            let folder = output.parent().and_then(real);
            let is_inside = folder.zip(workspace.as_ref()).is_some_and(|(f, w)| f.starts_with(w));
            if is_inside {
                before.pass_partial(self.mark(), &output).map_err(|source| StateError::Io {
                    what: "rename the unfinished file of",
                    path: output.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// Removes what is of no use any more: digests of files that are gone, successes that were
    /// replaced and whose outputs are gone, all runs but the last `keep_runs` of each job with
    /// their logs, and all unfinished outputs that nobody is writing, with their journals. The
    /// caller holds the workspace's lock. Finished outputs are never touched.
    pub fn collect_garbage(&self, keep_runs: usize) -> Result<Removed, StateError> {
        let before = self.holdings()?;
        let mut removed = Removed::default();
        for path in self.digest_paths()? {
            if !Utf8Path::new(&path).exists() {
                self.forget_digest(&path)?;
                removed.digests += 1;
            }
        }
        self.collect_actions(&mut removed)?;
        self.collect_runs(keep_runs, &mut removed)?;
        for unfinished in self.unfinished()? {
            let Unfinished { path, output, bytes, .. } = unfinished;
            let gone = self.mark().remove_partial(&output);
            if gone.map_err(|source| StateError::Io {
                what: "remove",
                path: path.clone(),
                source,
            })? {
                removed.bytes += bytes;
                removed.unfinished.push(path);
            }
        }
        for pending in self.all_pending()? {
            self.forget_pending(&pending)?;
        }
        remove_contents(&self.journals())?;
        self.compact()?;
        let after = self.holdings()?;
        let own = |h: &Holdings| h.database_bytes + h.logs_bytes + h.journals_bytes;
        removed.bytes += own(&before).saturating_sub(own(&after));
        Ok(removed)
    }

    fn collect_actions(&self, removed: &mut Removed) -> Result<(), StateError> {
        let mut last = BTreeSet::new();
        for action in self.actions()?.into_iter().rev() {
            let owner = (action.job.clone(), action.manifest.clone(), action.step.clone());
            let is_last = last.insert(owner);
            // A measurement has no outputs and is worth keeping: a setting may come back.
            let gone = action.outputs.iter().any(|output| !output.path.exists());
            if !is_last && gone {
                self.forget_action(&action)?;
                removed.actions += 1;
            }
        }
        Ok(())
    }

    fn collect_runs(&self, keep: usize, removed: &mut Removed) -> Result<(), StateError> {
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        for run in self.runs()? {
            let n = seen.entry(run.job.clone()).or_default();
            *n += 1;
            if *n <= keep {
                continue;
            }
            let logs = self.logs(run.id);
            if logs.exists() {
                fs::remove_dir_all(&logs).map_err(|source| StateError::Io {
                    what: "remove",
                    path: logs,
                    source,
                })?;
            }
            self.forget_run(run.id)?;
            removed.runs += 1;
        }
        Ok(())
    }
}

fn remove(path: &Utf8Path) -> Result<(), StateError> {
    fs::remove_file(path).map_err(|source| StateError::Io {
        what: "remove",
        path: path.to_owned(),
        source,
    })
}

fn remove_contents(directory: &Utf8Path) -> Result<(), StateError> {
    let io = |source| StateError::Io { what: "list", path: directory.to_owned(), source };
    for entry in directory.read_dir_utf8().map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.path().is_file() {
            remove(entry.path())?;
        }
    }
    Ok(())
}

/// Bytes of a file, or of all files below a directory; what cannot be read counts nothing.
fn tree_bytes(path: &Utf8Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let Ok(entries) = path.read_dir_utf8() else { return 0 };
    entries.flatten().map(|entry| tree_bytes(entry.path())).sum()
}
