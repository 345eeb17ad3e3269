//! Keeps account of a file that is being written, in a thread beside the one that writes: has the
//! kernel write early what is there, flushes finished tensors to the disk and notes them in the
//! journal.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use crate::gguf::Layout;
use crate::steps::journal::{Entry, Journal};
use crate::steps::output::Flusher;
use crate::steps::{Context, Level, StepError};

/// Bytes after which the kernel is told to write what is there.
const BEGIN_BYTES: u64 = 8 << 20;

/// What a keeper is told.
pub enum Note {
    /// So many bytes of the file are written.
    Written(u64),
    /// A tensor, all of which is written, has this digest.
    Hashed { tensor: usize, sha256: String },
}

/// Keeps account of one file.
pub struct Keeper<'a> {
    pub ctx: &'a Context<'a>,
    pub flusher: Flusher,
    pub journal: Option<Journal>,
    pub layout: &'a Layout,
    pub sizes: &'a [u64],
    /// Finished tensors.
    pub done: Vec<Entry>,
    /// Digests of tensors, earlier ones of which have none yet.
    early: BTreeMap<usize, String>,
    /// How many of the finished tensors are on the disk and in the journal.
    noted: usize,
    /// How much of the file they are.
    flushed: u64,
    flush_bytes: u64,
    /// How much of the file the kernel has been told to write.
    begun: u64,
}

impl<'a> Keeper<'a> {
    /// The keeper of a file that holds `kept` already, of which `written` bytes are there; tensors
    /// are flushed after `flush_bytes` bytes.
    pub fn new(
        ctx: &'a Context<'a>,
        flusher: Flusher,
        journal: Option<Journal>,
        (layout, sizes): (&'a Layout, &'a [u64]),
        kept: Vec<Entry>,
        written: u64,
        flush_bytes: u64,
    ) -> Self {
        let noted = kept.len();
        let (early, flushed, begun) = (BTreeMap::new(), written, written);
        let done = kept;
        Self {
            ctx,
            flusher,
            journal,
            layout,
            sizes,
            done,
            early,
            noted,
            flushed,
            flush_bytes,
            begun,
        }
    }

    /// Listens until there is no more to come; gives itself back with how it went.
    pub fn keep(mut self, notes: Receiver<Note>) -> (Self, Result<(), StepError>) {
        for note in notes {
            match note {
                Note::Written(bytes) if bytes >= self.begun + BEGIN_BYTES => {
                    self.flusher.begin(self.begun..bytes);
                    self.begun = bytes;
                }
                Note::Written(_) => {}
                Note::Hashed { tensor, sha256 } => {
                    if let Err(error) = self.hashed(tensor, sha256) {
                        return (self, Err(error));
                    }
                }
            }
        }
        (self, Ok(()))
    }

    fn hashed(&mut self, tensor: usize, sha256: String) -> Result<(), StepError> {
        self.early.insert(tensor, sha256);
        while let Some(sha256) = self.early.remove(&self.done.len()) {
            let tensor = self.done.len();
            let (offset, bytes) = (self.layout.offset(tensor), self.sizes[tensor]);
            self.done.push(Entry { tensor, offset, bytes, sha256 });
            let end = offset + bytes + self.layout.padding(bytes) as u64;
            if end - self.flushed >= self.flush_bytes {
                self.note()?;
                self.flushed = end;
            }
        }
        Ok(())
    }

    /// Flushes finished tensors to the disk, then notes them in the journal.
    pub fn note(&mut self) -> Result<(), StepError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        self.flusher.sync()?;
        if let Err(e) = journal.append(&self.done[self.noted..]) {
            let message = format!("cannot write the journal: {e}; if killed, this starts anew");
            self.ctx.log(Level::Warn, message);
            self.journal = None;
        }
        self.noted = self.done.len();
        Ok(())
    }
}
