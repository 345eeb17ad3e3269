//! A journal: lines of JSON, of which the first says what it belongs to and each other is an entry,
//! appended and flushed as it happens. One that is torn, damaged or of something else is no error:
//! what stands behind the first line that cannot be read never happened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest journal that is read, in bytes; one of a million tensors is shorter.
const MAX_BYTES: u64 = 1 << 28;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: Utf8PathBuf,
    file: File,
}

impl Journal {
    /// The entries of the journal at `path`, if it is one of `belongs_to`, up to the first line
    /// that is none.
    pub fn entries<E: DeserializeOwned>(
        path: &Utf8Path,
        belongs_to: &(impl DeserializeOwned + PartialEq),
    ) -> Vec<E> {
        Self::read(path, belongs_to).unwrap_or_default()
    }

    fn read<H: DeserializeOwned + PartialEq, E: DeserializeOwned>(
        path: &Utf8Path,
        belongs_to: &H,
    ) -> io::Result<Vec<E>> {
        let file = File::open(path)?;
        if file.metadata()?.len() > MAX_BYTES {
            return Ok(Vec::new());
        }
        let mut lines = BufReader::new(file).lines();
        let Some(first) = lines.next() else { return Ok(Vec::new()) };
        if serde_json::from_str::<H>(&first?)? != *belongs_to {
            return Ok(Vec::new());
        }
        Ok(lines.map_while(|line| serde_json::from_str(&line.ok()?).ok()).collect())
    }

    /// Starts the journal at `path` anew with these entries: what was not believed is gone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn start(
        path: &Utf8Path,
        belongs_to: &impl Serialize,
        entries: &[impl Serialize],
    ) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        let mut journal = Self { path: path.to_owned(), file };
        let mut text = lines(std::slice::from_ref(belongs_to))?;
        text.extend(lines(entries)?);
        journal.write(&text)?;
        Ok(journal)
    }

    /// Adds entries, which are on the disk when it returns.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn append(&mut self, entries: &[impl Serialize]) -> io::Result<()> {
        self.write(&lines(entries)?)
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.file.sync_data()
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Removes the journal of what is finished or given up. One that stays behind does no harm.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Each value on a line of its own.
fn lines(values: &[impl Serialize]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for value in values {
        serde_json::to_writer(&mut text, value)?;
        text.push(b'\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Utf8PathBuf) {
        let guard = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(guard.path()).unwrap().join("sub/x.journal");
        (guard, path)
    }

    #[test]
    fn entries_are_found_again_by_whom_they_belong_to() {
        let (_guard, path) = place();
        assert_eq!(Journal::entries::<u32>(&path, &"this".to_owned()), [0; 0]);
        let mut journal = Journal::start(&path, &"this", &[1]).unwrap();
        journal.append(&[2, 3]).unwrap();
        drop(journal);
        assert_eq!(Journal::entries::<u32>(&path, &"this".to_owned()), [1, 2, 3]);
        assert_eq!(Journal::entries::<u32>(&path, &"that".to_owned()), [0; 0]);

        let journal = Journal::start(&path, &"that", &[4]).unwrap();
        assert_eq!(Journal::entries::<u32>(&path, &"that".to_owned()), [4]);
        journal.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_torn_or_foreign_line_ends_what_is_believed() {
        let (_guard, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for tail in ["[1", "\u{0}\u{0}", "{}", ""] {
            fs::write(&path, format!("\"this\"\n[1]\n{tail}\n[1]\n")).unwrap();
            let found = Journal::entries::<Vec<u32>>(&path, &"this".to_owned());
            assert_eq!(found, [[1]], "{tail:?}");
        }
        for whole in [&b""[..], b"\n", b"\xff\xff\n[1]\n", b"\"this"] {
            fs::write(&path, whole).unwrap();
            assert_eq!(Journal::entries::<Vec<u32>>(&path, &"this".to_owned()), [[0; 0]; 0]);
        }
    }
}
