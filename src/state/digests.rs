//! Digests of files, remembered under what a `stat` says of the file.

use camino::Utf8Path;
use rusqlite::{OptionalExtension, named_params};

use super::{State, StateError};
use crate::files::{Stamp, now_ns};

impl State {
    /// The SHA-256 of the file at `path` that has `stamp` now, where it is known for sure.
    pub fn digest(&self, path: &Utf8Path, stamp: &Stamp) -> Result<Option<String>, StateError> {
        self.query(|db| {
            let row = db
                .prepare_cached(
                    "SELECT sha256, recorded_ns FROM digests WHERE path = :path
                     AND bytes = :bytes AND mtime_ns = :mtime AND ctime_ns = :ctime
                     AND inode = :inode AND device = :device",
                )?
                .query_row(
                    named_params! {
                        ":path": path.as_str(), ":bytes": stamp.bytes.cast_signed(),
                        ":mtime": stamp.mtime_ns, ":ctime": stamp.ctime_ns,
                        ":inode": stamp.inode.cast_signed(), ":device": stamp.device.cast_signed(),
                    },
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
                )
                .optional()?;
            Ok(row.filter(|(_, recorded)| stamp.is_settled(*recorded)).map(|(sha256, _)| sha256))
        })
    }

    /// Remembers the SHA-256 of the file at `path`, which had `stamp` before its bytes were read
    /// (or when its writer was done) and still has it.
    ///
    /// Waits up to a tick of the file system's clock for the stamp to settle; what does not settle
    /// or has changed meanwhile is not remembered.
    pub fn record_digest(
        &self,
        path: &Utf8Path,
        stamp: &Stamp,
        sha256: &str,
    ) -> Result<(), StateError> {
        if !stamp.settle() || Stamp::of(path).ok().flatten() != Some(*stamp) {
            return Ok(());
        }
        self.query(|db| {
            db.prepare_cached(
                "INSERT OR REPLACE INTO digests
                 VALUES (:path, :bytes, :mtime, :ctime, :inode, :device, :sha256, :recorded)",
            )?
            .execute(named_params! {
                ":path": path.as_str(), ":bytes": stamp.bytes.cast_signed(),
                ":mtime": stamp.mtime_ns, ":ctime": stamp.ctime_ns,
                ":inode": stamp.inode.cast_signed(), ":device": stamp.device.cast_signed(),
                ":sha256": sha256, ":recorded": now_ns(),
            })?;
            Ok(())
        })
    }

    /// Paths of all remembered digests.
    pub fn digest_paths(&self) -> Result<Vec<String>, StateError> {
        self.query(|db| {
            db.prepare("SELECT path FROM digests ORDER BY path")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// Forgets the digest of `path`.
    pub fn forget_digest(&self, path: &str) -> Result<(), StateError> {
        self.query(|db| db.execute("DELETE FROM digests WHERE path = ?1", [path]).map(drop))
    }
}
