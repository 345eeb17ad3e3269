//! The journal of an unfinished model file: which of its tensors are whole and on the disk, so
//! that a killed step continues behind them. It is never trusted: what it says about a tensor
//! counts only while the file up to the tensor's end has that SHA-256, which is had on the way to
//! the whole file's, so that no byte is hashed twice. Knows nothing of how tensors are made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{HashWriter, Prefix};
use crate::gguf::Layout;

/// Version of the journal's own format.
const VERSION: u32 = 2;

/// Longest journal that is read, in bytes; one of a million tensors is shorter.
const MAX_BYTES: u64 = 1 << 28;

/// Bytes that are read between two words about it.
const PIECE: u64 = 16 << 20;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    journal: u32,
    /// What the output is made from and how, as a digest; another one voids the journal.
    identity: String,
}

/// A finished tensor, one line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Number of the tensor in the file.
    pub tensor: usize,
    /// Where its data starts in the file.
    pub offset: u64,
    /// Bytes of its data, without padding.
    pub bytes: u64,
    /// SHA-256 of the file from its start to the tensor's end, padding included.
    pub sha256: String,
}

impl Entry {
    /// Where the tensor, with its padding, ends in a file laid out so.
    pub fn end(&self, layout: &Layout) -> u64 {
        self.offset + self.bytes + layout.padding(self.bytes) as u64
    }
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: Utf8PathBuf,
    identity: String,
    file: Option<File>,
}

impl Journal {
    /// The journal in `directory` of the file at `out`, made from and by `identity`. Nothing is
    /// written yet.
    pub fn new(directory: &Utf8Path, out: &Utf8Path, identity: String) -> Self {
        // The same file under two spellings gets two journals, of which one is never matched.
        let full = std::path::absolute(out).unwrap_or_else(|_| out.into());
        let digest = hex::encode(Sha256::digest(full.as_os_str().as_encoded_bytes()));
        let name = out.file_name().unwrap_or_default();
        let path = directory.join(format!("{name}.{}.journal", &digest[..16]));
        Self { path, identity, file: None }
    }

    /// The entries of finished tensors that the unfinished file `partial` still bears out, from
    /// the first tensor on, and the file up to the end of the last. Whatever cannot be read or does
    /// not fit ends the list.
    ///
    /// All of that is read again. `watch` hears how many bytes were, of how many, and ends it with
    /// false.
    pub fn vouched(
        &self,
        partial: &File,
        layout: &Layout,
        sizes: &[u64],
        watch: &mut dyn FnMut(u64, u64) -> bool,
    ) -> (Vec<Entry>, Prefix) {
        let mut good = (Vec::new(), Prefix::default());
        if let Ok(entries) = self.entries() {
            // What was good before an error is good.
            let _ = check(partial, layout, sizes, entries, watch, &mut good);
        }
        good
    }

    /// What the journal says, up to the first line that is not whole.
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let file = File::open(&self.path)?;
        if file.metadata()?.len() > MAX_BYTES {
            return Ok(Vec::new());
        }
        let mut lines = BufReader::new(file).lines();
        let header: Header = match lines.next() {
            Some(line) => serde_json::from_str(&line?)?,
            None => return Ok(Vec::new()),
        };
        if header.journal != VERSION || header.identity != self.identity {
            return Ok(Vec::new());
        }
        let entries = lines.map_while(|line| serde_json::from_str(&line.ok()?).ok());
        Ok(entries.collect())
    }

    /// Starts the journal anew with these entries.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn start(&mut self, entries: &[Entry]) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)?;
        let header = Header { journal: VERSION, identity: self.identity.clone() };
        let mut text = serde_json::to_string(&header)?;
        text.push('\n');
        file.write_all(text.as_bytes())?;
        self.file = Some(file);
        self.append(entries)
    }

    /// Adds entries of tensors whose data is on the disk.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut text = String::new();
        for entry in entries {
            text.push_str(&serde_json::to_string(entry)?);
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }

    /// Removes the journal of a file that is finished or given up. One that stays behind would do
    /// no harm.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Reads the unfinished file from its start and adds to `good` the entries that it bears out.
fn check(
    partial: &File,
    layout: &Layout,
    sizes: &[u64],
    entries: Vec<Entry>,
    watch: &mut dyn FnMut(u64, u64) -> bool,
    (good, prefix): &mut (Vec<Entry>, Prefix),
) -> io::Result<()> {
    let Some(last) = entries.last() else { return Ok(()) };
    let total = last.end(layout).min(partial.metadata()?.len());
    let mut file = partial;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut header = vec![0; layout.header().len()];
    reader.read_exact(&mut header)?;
    if header != layout.header() {
        return Ok(());
    }
    let mut hasher = Sha256::new_with_prefix(&header);
    for (number, (entry, &bytes)) in entries.into_iter().zip(sizes).enumerate() {
        let expected = (number, layout.offset(number), bytes);
        if (entry.tensor, entry.offset, entry.bytes) != expected {
            break;
        }
        let end = entry.end(layout);
        let mut at = entry.offset;
        while at < end {
            if !watch(at, total) {
                return Ok(());
            }
            let piece = (end - at).min(PIECE);
            if io::copy(&mut (&mut reader).take(piece), &mut HashWriter(&mut hasher))? != piece {
                return Ok(());
            }
            at += piece;
        }
        if hex::encode(hasher.clone().finalize()) != entry.sha256 {
            break;
        }
        *prefix = Prefix { bytes: end, hasher: hasher.clone() };
        good.push(entry);
    }
    Ok(())
}
