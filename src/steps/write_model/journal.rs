//! The journal of an unfinished file: which of its tensors are whole and on the disk, so that a
//! killed step continues behind them. A thread beside the one that writes keeps it. It is never
//! trusted: what it says about a tensor counts only while the file up to the tensor's end has that
//! SHA-256, which is had on the way to the whole file's, so that no byte is hashed twice. Knows nothing
//! of how tensors are made.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::Receiver;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::NewFile;
use super::model::NewModel;
use crate::files::{Flusher, Journal, Output, Prefix};
use crate::steps::{Context, Level, StepError};

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

impl Header {
    /// Of an output made of and by `identity`.
    pub fn new(identity: String) -> Self {
        Self { journal: VERSION, identity }
    }
}

/// Where in `directory` the journal of the file at `out` is.
pub fn journal_path(directory: &Utf8Path, out: &Utf8Path) -> Utf8PathBuf {
    // The same file under two spellings gets two journals, of which one is never matched.
    let full = std::path::absolute(out).unwrap_or_else(|_| out.into());
    let digest = hex::encode(Sha256::digest(full.as_os_str().as_encoded_bytes()));
    let name = out.file_name().unwrap_or_default();
    directory.join(format!("{name}.{}.journal", &digest[..16]))
}

/// Those of a journal's `entries` that the unfinished file `partial` still bears out, from the first
/// tensor on, and the file up to the end of the last. Whatever cannot be read or does not fit ends
/// the list.
///
/// All of that is read again, and the tensors hashed if asked to. `watch` hears how many bytes were,
/// of how many, and ends it with false.
pub fn vouched(
    entries: Vec<Entry>,
    partial: &File,
    file: &NewFile,
    hash_tensors: bool,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> (Vec<Entry>, Prefix) {
    let mut good = (Vec::new(), Prefix::default());
    // What was good before an error is good.
    let _ = check(entries, partial, file, hash_tensors, watch, &mut good);
    good
}

/// Reads the unfinished file from its start and adds to `good` the entries that it bears out.
fn check(
    entries: Vec<Entry>,
    partial: &File,
    file: &NewFile,
    hash_tensors: bool,
    watch: &mut dyn FnMut(u64, u64) -> bool,
    (good, prefix): &mut (Vec<Entry>, Prefix),
) -> io::Result<()> {
    let layout = &file.layout;
    let Some(last) = entries.len().min(file.infos.len()).checked_sub(1) else { return Ok(()) };
    let total = file.end(last).min(partial.metadata()?.len());
    let mut partial = partial;
    partial.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(1 << 20, partial);
    let mut header = vec![0; layout.header().len()];
    reader.read_exact(&mut header)?;
    if header != layout.header() {
        return Ok(());
    }
    let mut hasher = Sha256::new_with_prefix(&header);
    for (number, (mut entry, info)) in entries.into_iter().zip(&file.infos).enumerate() {
        let expected = (number, layout.offset(number), info.bytes());
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
        let mut padding = vec![0; file.padding(number)];
        reader.read_exact(&mut padding)?;
        hasher.update(&padding);
        if hex::encode(hasher.clone().finalize()) != entry.sha256 {
            break;
        }
        *prefix = Prefix { bytes: file.end(number), hasher: hasher.clone() };
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

/// What a keeper is told.
pub enum Advance {
    /// So many bytes are in the file.
    InFile(u64),
    /// The file up to the end of the next tensor has this digest.
    Hashed(String),
}

/// Keeps the journal of one file: flushes finished tensors to the disk, then notes them.
pub struct Keeper<'a> {
    ctx: &'a Context<'a>,
    file: &'a NewFile,
    flusher: Flusher,
    /// `None` where there is none, or it could not be written.
    pub journal: Option<Journal>,
    /// Tensors that are hashed, which their last bytes' way into the file may outlast.
    pub done: Vec<Entry>,
    /// How many of them are on the disk and in the journal.
    noted: usize,
    /// Bytes that are in the file.
    in_file: u64,
    /// How much of the file was there when it was last flushed.
    flushed: u64,
    /// Bytes after which finished tensors are flushed.
    flush_bytes: u64,
}

impl<'a> Keeper<'a> {
    /// Of the file that is `output`, of which `done` is there.
    pub fn new(
        model: &NewModel<'a>,
        file: &'a NewFile,
        output: &Output,
        journal: Option<Journal>,
        done: Vec<Entry>,
    ) -> Result<Self, StepError> {
        let (flusher, in_file) = (output.flusher()?, output.in_file());
        let (ctx, flush_bytes, noted) = (model.ctx, model.flush_bytes, done.len());
        Ok(Self {
            ctx,
            file,
            flusher,
            journal,
            done,
            noted,
            in_file,
            flushed: in_file,
            flush_bytes,
        })
    }

    /// Listens until there is no more to come.
    pub fn keep(&mut self, advances: Receiver<Advance>) -> Result<(), StepError> {
        for advance in advances {
            match advance {
                Advance::InFile(bytes) => self.in_file = bytes,
                Advance::Hashed(sha256) => {
                    let tensor = self.done.len();
                    let offset = self.file.layout.offset(tensor);
                    let bytes = self.file.infos[tensor].bytes();
                    self.done.push(Entry { tensor, offset, bytes, sha256, tensor_sha256: None });
                }
            }
            if self.in_file >= self.flushed + self.flush_bytes {
                self.note()?;
            }
        }
        Ok(())
    }

    /// Flushes tensors that are finished and in the file to the disk, then notes them in the
    /// journal.
    pub fn note(&mut self) -> Result<(), StepError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let waiting = &self.done[self.noted..];
        let is_in_file = |entry: &&Entry| self.file.end(entry.tensor) <= self.in_file;
        let finished = &waiting[..waiting.iter().take_while(is_in_file).count()];
        if finished.is_empty() {
            return Ok(());
        }
        self.flusher.sync()?;
        self.flushed = self.in_file;
        self.noted += finished.len();
        if let Err(e) = journal.append(finished) {
            let message = format!("cannot write the journal: {e}; if killed, this starts anew");
            self.ctx.log(Level::Warn, message);
            self.journal = None;
        }
        Ok(())
    }
}
