//! The journal of an unfinished model file: which of its tensors are whole and on the disk, so
//! that a killed step continues behind them. It is never trusted: what it says about a tensor
//! counts only while the file up to the tensor's end has that SHA-256, which is had on the way to
//! the whole file's, so that no byte is hashed twice. Knows nothing of how tensors are made.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{Journal, Prefix};
use crate::gguf::Layout;

/// Version of the journal's own format.
const VERSION: u32 = 2;

/// Bytes that are read between two words about it.
const PIECE: u64 = 16 << 20;

/// What a journal belongs to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    journal: u32,
    /// What the output is made from and how, as a digest; another one voids the journal.
    identity: String,
}

/// A finished tensor, one line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number of the tensor in the file.
    pub tensor: usize,
    /// Where its data starts in the file.
    pub offset: u64,
    /// Bytes of its data, without padding.
    pub bytes: u64,
    /// SHA-256 of the file from its start to the tensor's end, padding included.
    pub sha256: String,
    /// SHA-256 of the tensor's data alone, where it is to be told. Not in the journal: it is found
    /// again on the way.
    #[serde(skip)]
    pub tensor_sha256: Option<String>,
}

impl Entry {
    /// Where the tensor, with its padding, ends in a file laid out so.
    pub fn end(&self, layout: &Layout) -> u64 {
        self.offset + self.bytes + layout.padding(self.bytes) as u64
    }
}

impl Header {
    /// Of an output made of and by `identity`.
    pub fn new(identity: String) -> Self {
        Self { journal: VERSION, identity }
    }
}

/// The file that is to become of an unfinished one.
pub struct Whole<'a> {
    pub layout: &'a Layout,
    /// Bytes of each tensor, without padding.
    pub sizes: &'a [u64],
    /// Find the SHA-256 of each tensor's data, too.
    pub hash_tensors: bool,
}

/// Where in `directory` the journal of the file at `out` is.
pub fn journal_path(directory: &Utf8Path, out: &Utf8Path) -> Utf8PathBuf {
    // The same file under two spellings gets two journals, of which one is never matched.
    let full = std::path::absolute(out).unwrap_or_else(|_| out.into());
    let digest = hex::encode(Sha256::digest(full.as_os_str().as_encoded_bytes()));
    let name = out.file_name().unwrap_or_default();
    directory.join(format!("{name}.{}.journal", &digest[..16]))
}

/// The entries of the journal at `path` that the unfinished file `partial` still bears out, from
/// the first tensor on, and the file up to the end of the last. Whatever cannot be read or does
/// not fit ends the list.
///
/// All of that is read again. `watch` hears how many bytes were, of how many, and ends it with
/// false.
pub fn vouched(
    path: &Utf8Path,
    header: &Header,
    partial: &File,
    whole: &Whole<'_>,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> (Vec<Entry>, Prefix) {
    let mut good = (Vec::new(), Prefix::default());
    // What was good before an error is good.
    let _ = check(partial, whole, Journal::entries(path, header), watch, &mut good);
    good
}

/// Reads the unfinished file from its start and adds to `good` the entries that it bears out.
fn check(
    partial: &File,
    &Whole { layout, sizes, hash_tensors }: &Whole<'_>,
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
    for (number, (mut entry, &bytes)) in entries.into_iter().zip(sizes).enumerate() {
        let expected = (number, layout.offset(number), bytes);
        if (entry.tensor, entry.offset, entry.bytes) != expected {
            break;
        }
        let (mut at, data_end) = (entry.offset, entry.offset + entry.bytes);
        let mut tensor = hash_tensors.then(Sha256::new);
        while at < data_end {
            if !watch(at, total) {
                return Ok(());
            }
            let piece = (data_end - at).min(PIECE);
            let mut both = Both { file: &mut hasher, tensor: tensor.as_mut() };
            if io::copy(&mut (&mut reader).take(piece), &mut both)? != piece {
                return Ok(());
            }
            at += piece;
        }
        let mut padding = vec![0; layout.padding(entry.bytes)];
        reader.read_exact(&mut padding)?;
        hasher.update(&padding);
        if hex::encode(hasher.clone().finalize()) != entry.sha256 {
            break;
        }
        *prefix = Prefix { bytes: entry.end(layout), hasher: hasher.clone() };
        entry.tensor_sha256 = tensor.map(|tensor| hex::encode(tensor.finalize()));
        good.push(entry);
    }
    Ok(())
}

/// Hashes what is written for the file and, where it is to be told, for the tensor.
struct Both<'a> {
    file: &'a mut Sha256,
    tensor: Option<&'a mut Sha256>,
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.update(bytes);
        if let Some(tensor) = &mut self.tensor {
            tensor.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
