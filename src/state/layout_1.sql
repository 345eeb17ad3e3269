-- A state as qrun 0.1 left it in /was/there, laid out as it was then; moved since.
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
INSERT INTO actions VALUES (1, 'job', 'convert', 'k', '[["a","1"]]',
    '[{"path":"/was/there/out/a.gguf","bytes":5,"sha256":"aa"},{"path":"/elsewhere/b","bytes":5,"sha256":"bb"}]',
    '{"n":1,"output":{"path":"/was/there/out/a.gguf"}}', 5, 7, NULL);
INSERT INTO pending VALUES ('job', 'quantize', 'k', '["/was/there/out/c.gguf"]');
INSERT INTO runs VALUES (1, 'job', 'qrun job.toml', 1, 5, 6, 'done');
INSERT INTO outcomes VALUES (1, 0, 'convert', 'done', NULL, 1, NULL, '/was/there/.qrun/logs/1/01-convert.log');
PRAGMA user_version = 1;
