//! Layout of the database, and the way from one layout to the next.

use camino::Utf8Path;
use rusqlite::{Connection, Transaction};

use super::places;

/// A way from one layout to the next, for the state of the workspace.
type Migration = fn(&Transaction<'_>, &Utf8Path) -> rusqlite::Result<()>;

/// Each entry leads from the layout of its index to the next one; SQLite's `user_version` counts
/// the entries that have been applied. Never edit an entry that was released: add one.
const MIGRATIONS: &[Migration] = &[
    |db, _| db.execute_batch(FIRST),
    |db, workspace| {
        db.execute_batch(BY_MANIFEST)?;
        places::make_relative(db, workspace)
    },
];

const FIRST: &str = "
    CREATE TABLE digests (
        path        TEXT PRIMARY KEY,
        bytes       INTEGER NOT NULL,
        mtime_ns    INTEGER NOT NULL,
        ctime_ns    INTEGER NOT NULL,
        inode       INTEGER NOT NULL,
        device      INTEGER NOT NULL,
        sha256      TEXT NOT NULL,
        recorded_ns INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE actions (
        id             INTEGER PRIMARY KEY AUTOINCREMENT,
        job            TEXT NOT NULL,
        step           TEXT NOT NULL,
        key            TEXT NOT NULL,
        ingredients    TEXT NOT NULL,
        outputs        TEXT NOT NULL,
        result         TEXT NOT NULL,
        started_ms     INTEGER NOT NULL,
        duration_ms    INTEGER NOT NULL,
        peak_rss_bytes INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX actions_by_key ON actions (job, step, key);
    CREATE INDEX actions_by_step ON actions (job, step, id);
    CREATE TABLE pending (
        job        TEXT NOT NULL,
        step       TEXT NOT NULL,
        key        TEXT NOT NULL,
        outputs    TEXT NOT NULL,
        PRIMARY KEY (job, step)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE runs (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        job         TEXT NOT NULL,
        command     TEXT NOT NULL,
        pid         INTEGER NOT NULL,
        started_ms  INTEGER NOT NULL,
        finished_ms INTEGER,
        outcome     TEXT
    ) STRICT;
    CREATE TABLE outcomes (
        run            INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        position       INTEGER NOT NULL,
        step           TEXT NOT NULL,
        status         TEXT NOT NULL,
        message        TEXT,
        duration_ms    INTEGER,
        peak_rss_bytes INTEGER,
        log            TEXT,
        PRIMARY KEY (run, step)
    ) STRICT, WITHOUT ROWID;
";

/// Several manifests may describe a job of one name: each has its own last successes, its own
/// unfinished steps and its own runs. What is older than this belongs to any of them. And what was
/// begun outside of the workspace is remembered with the directory that remembers it.
const BY_MANIFEST: &str = "
    ALTER TABLE actions ADD COLUMN manifest TEXT NOT NULL DEFAULT '';
    DROP INDEX actions_by_key;
    DROP INDEX actions_by_step;
    CREATE UNIQUE INDEX actions_of_manifest ON actions (job, manifest, step, key);
    CREATE INDEX actions_by_step ON actions (job, step, id);
    CREATE INDEX actions_by_key ON actions (key);
    ALTER TABLE runs ADD COLUMN manifest TEXT NOT NULL DEFAULT '';
    ALTER TABLE pending RENAME TO pending_1;
    CREATE TABLE pending (
        job        TEXT NOT NULL,
        manifest   TEXT NOT NULL,
        step       TEXT NOT NULL,
        key        TEXT NOT NULL,
        outputs    TEXT NOT NULL,
        home       TEXT NOT NULL,
        PRIMARY KEY (job, manifest, step)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO pending SELECT job, '', step, key, outputs, '' FROM pending_1;
    DROP TABLE pending_1;
";

/// The layout that this program writes.
pub const CURRENT: i64 = MIGRATIONS.len() as i64;

/// The layout of an open database.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the database of `workspace` to [`CURRENT`], all or nothing.
pub fn migrate(connection: &mut Connection, workspace: &Utf8Path) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Read again under the write lock: another process may have been faster.
    let from = usize::try_from(version(&transaction)?).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(from) {
        migration(&transaction, workspace)?;
    }
    transaction.pragma_update(None, "user_version", CURRENT)?;
    transaction.commit()
}
