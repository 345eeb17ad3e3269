//! Whether a file could be made, found out without making one.

use camino::{Utf8Path, Utf8PathBuf};

use super::os;

/// Why no file can be made at `path`, with the directories that it needs, in words; `None` if nothing
/// speaks against it.
pub fn why_not_writable(path: &Utf8Path) -> Option<String> {
    let there = |p: &&Utf8Path| p.symlink_metadata().is_ok();
    let directory = path.ancestors().skip(1).find(there).unwrap_or(Utf8Path::new("/"));
    match directory.metadata() {
        Err(e) => return Some(format!("{directory} cannot be looked at: {e}")),
        Ok(meta) if !meta.is_dir() => {
            return Some(format!("{directory} is a file; expected a directory"));
        }
        Ok(_) => {}
    }
    if let Err(e) = os::may_write(directory.as_std_path()) {
        return Some(format!("the directory {directory} cannot be written: {e}"));
    }
    match super::free_bytes(directory) {
        Ok(0) => Some(format!("the file system of {directory} is full")),
        // One that does not say how full it is may have room.
        _ => None,
    }
}

/// The nearest directory above `path` that is there.
pub fn existing_ancestor(path: &Utf8Path) -> Utf8PathBuf {
    path.ancestors()
        .skip(1)
        .find(|p| p.is_dir())
        .map_or_else(|| Utf8PathBuf::from("/"), Utf8Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_named() {
        let guard = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(guard.path()).unwrap();
        assert_eq!(why_not_writable(&dir.join("new/deep/file")), None);
        std::fs::write(dir.join("file"), "").unwrap();
        let why = why_not_writable(&dir.join("file/x")).unwrap();
        assert_eq!(why, format!("{dir}/file is a file; expected a directory"));
        std::os::unix::fs::symlink("nowhere", dir.join("link")).unwrap();
        assert!(
            why_not_writable(&dir.join("link/x")).unwrap().contains("link cannot be looked at")
        );
        // Nobody, not even root, makes files here.
        let why = why_not_writable(Utf8Path::new("/proc/self/x")).unwrap();
        assert!(why.contains("/proc/self cannot be written") || why.contains("is full"), "{why}");
        assert!(!dir.join("new").exists());
    }
}
