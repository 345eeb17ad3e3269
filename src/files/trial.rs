//! What a file system can do, tried with files that have no name and are gone when they are closed.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use camino::Utf8Path;

use super::os;

/// Bytes that are written at a time, and at most.
const PIECE: usize = 4 << 20;
const MOST: usize = 32 << 20;
/// How long is written at most, the last piece and the flush excepted.
const MOMENT: Duration = Duration::from_millis(100);
/// Bytes to share: a block of any file system.
const BLOCK: usize = 64 << 10;

/// Bytes per second that reach the disk in `directory`.
///
/// # Errors
/// If no file can be made there.
pub fn write_rate(directory: &Utf8Path) -> io::Result<f64> {
    let mut file = tempfile::tempfile_in(directory)?;
    // Nothing that a file system could make smaller, or leave out.
    let mut next = 1u64;
    let piece: Vec<u8> = std::iter::repeat_with(|| {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (next >> 32) as u8
    })
    .take(PIECE)
    .collect();
    let (start, mut written) = (Instant::now(), 0);
    while written < MOST && start.elapsed() < MOMENT {
        file.write_all(&piece)?;
        written += piece.len();
    }
    file.sync_data()?;
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

/// Whether a file in `to` can share the blocks of one in `from`. Where that cannot be tried it cannot
/// be done.
pub fn can_share_blocks(from: &Utf8Path, to: &Utf8Path) -> bool {
    let tried = || -> io::Result<()> {
        let mut original = tempfile::tempfile_in(from)?;
        original.write_all(&[1; BLOCK])?;
        os::share_blocks(&tempfile::tempfile_in(to)?, &original)
    };
    tried().is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn what_is_tried_is_what_named_files_can_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap();
        let (from, to) = (path.join("from"), path.join("to"));
        fs::write(&from, [1; BLOCK]).unwrap();
        let named = os::share_blocks(&File::create(&to).unwrap(), &File::open(&from).unwrap());
        assert_eq!(can_share_blocks(path, path), named.is_ok());
        assert!(!can_share_blocks(path, Utf8Path::new("/proc")), "another file system");
        assert!(!can_share_blocks(&path.join("none"), path));
        assert!(write_rate(path).unwrap() > 0.0);
        assert_eq!(fs::read_dir(path).unwrap().count(), 2);
    }
}
