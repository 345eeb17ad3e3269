//! SQLite state: file digests, finished actions, runs, the lock. Knows nothing of what a step means.
