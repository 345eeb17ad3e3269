//! What a `stat` says of a file: the key under which its digest is remembered.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::os;

/// Longest step of a file system's clock that is waited for: kernels stamp files with a clock that
/// ticks every 1 to 10 ms.
const TICK: Duration = Duration::from_millis(12);

/// The same for file systems that keep whole seconds only (FAT keeps even ones).
const COARSE_TICK: Duration = Duration::from_millis(2100);

/// Which file or directory it is, under whatever name, as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    /// That of what stands at `path` (links are followed).
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn of(path: &Utf8Path) -> std::io::Result<Self> {
        Ok(os::id(&std::fs::metadata(path)?))
    }
}

/// Size, times and identity of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub bytes: u64,
    /// Last change of content, in ns since 1970.
    pub mtime_ns: i64,
    /// Last change of content or inode, in ns since 1970. Programs cannot set it.
    pub ctime_ns: i64,
    pub inode: u64,
    pub device: u64,
}

impl Stamp {
    /// The stamp of the regular file at `path` (links are followed); `None` where nothing is there.
    ///
    /// # Errors
    /// If the file cannot be looked at, or is not a regular file.
    pub fn of(path: &Utf8Path) -> std::io::Result<Option<Self>> {
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        if !meta.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        let (mtime_ns, ctime_ns) = os::times(&meta);
        let FileId { device, inode } = os::id(&meta);
        Ok(Some(Self { bytes: meta.len(), mtime_ns, ctime_ns, inode, device }))
    }

    /// The stamp of a file that has to be there.
    ///
    /// # Errors
    /// As [`Stamp::of`], and if nothing is there.
    pub fn of_input(path: &Utf8Path) -> std::io::Result<Self> {
        Self::of(path)?.ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    /// Whether a change after `now_ns` is sure to give another stamp: neither of the file's times
    /// is within a tick of the file system's clock of `now_ns` (git's "racy" rule).
    ///
    /// A time in the future is no other than one in the past: content that changes gets the time
    /// of then, and so another.
    pub fn is_settled(&self, now_ns: i64) -> bool {
        let tick = self.tick().as_nanos() as u64;
        [self.mtime_ns, self.ctime_ns].iter().all(|time| time.abs_diff(now_ns) > tick)
    }

    /// Waits until the stamp is settled, at most a tick. Returns whether it has.
    pub fn settle(&self) -> bool {
        let tick = self.tick() + Duration::from_millis(5);
        if self.ctime_ns > now_ns() {
            // The file system's clock is not this machine's, or either was set. Where that clock
            // is now nobody says; in a tick it will be elsewhere.
            std::thread::sleep(tick);
        }
        let deadline = std::time::Instant::now() + tick;
        while !self.is_settled(now_ns()) {
            if std::time::Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    fn tick(&self) -> Duration {
        let whole_seconds = |ns: i64| ns % 1_000_000_000 == 0;
        if whole_seconds(self.ctime_ns) && whole_seconds(self.mtime_ns) {
            COARSE_TICK
        } else {
            TICK
        }
    }
}

/// Now, in ns since 1970.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Now, in ms since 1970.
pub fn now_ms() -> i64 {
    now_ns() / 1_000_000
}
