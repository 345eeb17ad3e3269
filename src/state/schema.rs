//! Layout of the database, and the way from one layout to the next.

use rusqlite::Connection;

/// Each entry leads from the layout of its index to the next one; SQLite's `user_version` counts
/// the entries that have been applied. Never edit an entry that was released: add one.
const MIGRATIONS: &[&str] = &["
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
"];

/// The layout that this program writes.
pub const CURRENT: i64 = MIGRATIONS.len() as i64;

/// The layout of an open database.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a database of layout `from` to [`CURRENT`], all or nothing.
pub fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Read again under the write lock: another process may have been faster.
    let from = usize::try_from(version(&transaction)?).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(from) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", CURRENT)?;
    transaction.commit()
}
