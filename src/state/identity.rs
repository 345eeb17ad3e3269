//! Which workspace it is: a random mark that is kept in `.qrun` with the place of that directory. A copy,
//! or one that was restored elsewhere, stands in another place and takes a mark of its own at its first
//! run. Knows nothing of what the mark is put on.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::StateError;
use crate::files::{FileId, Mark, write_atomic};

/// What stands in `.qrun/identity.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    mark: Mark,
    /// Where the directory stood, and which it was.
    path: Utf8PathBuf,
    device: u64,
    inode: u64,
}

fn file(directory: &Utf8Path) -> Utf8PathBuf {
    directory.join("identity.json")
}

fn known(directory: &Utf8Path) -> Option<Identity> {
    serde_json::from_slice(&std::fs::read(file(directory)).ok()?).ok()
}

impl Identity {
    /// Whether it is that of `directory`. Moved, it is still itself; and some systems number their
    /// devices anew at every start.
    fn is_of(&self, directory: &Utf8Path) -> bool {
        let id = FileId::of(directory).ok();
        id.is_some_and(|FileId { device, inode }| {
            self.inode == inode && (self.device == device || self.path == directory)
        })
    }
}

/// The mark of the workspace whose state is in `directory`; `None` if it has none of its own yet.
pub fn read(directory: &Utf8Path) -> Option<Mark> {
    known(directory).filter(|known| known.is_of(directory)).map(|known| known.mark)
}

/// [`read`], and takes one where there is none; with the one that stood there before, of the
/// workspace that this is a copy of.
///
/// # Errors
/// If it cannot be written.
pub fn take(directory: &Utf8Path) -> Result<(Mark, Option<Mark>), StateError> {
    let before = match known(directory) {
        Some(known) if known.is_of(directory) => return Ok((known.mark, None)),
        other => other.map(|known| known.mark),
    };
    let path = file(directory);
    let io = |source| StateError::Io { what: "write", path: path.clone(), source };
    let FileId { device, inode } = FileId::of(directory).map_err(io)?;
    let own = Identity { mark: Mark::random(), path: directory.to_owned(), device, inode };
    let json = serde_json::to_vec(&own).map_err(|e| io(e.into()))?;
    write_atomic(&path, &json, true).map_err(|e| io(std::io::Error::other(e)))?;
    Ok((own.mark, before))
}
