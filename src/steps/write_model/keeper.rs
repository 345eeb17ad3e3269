//! Keeps account of a file that is being written, in a thread beside the one that writes: flushes
//! finished tensors to the disk and notes them in the journal.

use std::sync::mpsc::Receiver;

use super::vouched::Entry;
use crate::files::{Flusher, Journal};
use crate::gguf::Layout;
use crate::steps::{Context, Level, StepError};

/// What a keeper is told.
pub enum Note {
    /// So many bytes are in the file.
    InFile(u64),
    /// The file up to the end of the next tensor has this digest.
    Hashed(String),
}

/// Keeps account of one file.
pub struct Keeper<'a> {
    pub ctx: &'a Context<'a>,
    pub flusher: Flusher,
    pub journal: Option<Journal>,
    pub layout: &'a Layout,
    pub sizes: &'a [u64],
    /// Tensors that are hashed, which their last bytes' way into the file may outlast.
    pub done: Vec<Entry>,
    /// How many of them are on the disk and in the journal.
    pub noted: usize,
    /// Bytes that are in the file.
    pub in_file: u64,
    /// How much of the file was there when it was last flushed.
    pub flushed: u64,
    /// Bytes after which finished tensors are flushed.
    pub flush_bytes: u64,
}

impl Keeper<'_> {
    /// Listens until there is no more to come; gives itself back with how it went.
    pub fn keep(mut self, notes: Receiver<Note>) -> (Self, Result<(), StepError>) {
        for note in notes {
            match note {
                Note::InFile(bytes) => self.in_file = bytes,
                Note::Hashed(sha256) => {
                    let tensor = self.done.len();
                    let (offset, bytes) = (self.layout.offset(tensor), self.sizes[tensor]);
                    self.done.push(Entry { tensor, offset, bytes, sha256, tensor_sha256: None });
                }
            }
            if self.in_file >= self.flushed + self.flush_bytes
                && let Err(error) = self.note()
            {
                return (self, Err(error));
            }
        }
        (self, Ok(()))
    }

    /// Flushes tensors that are finished and in the file to the disk, then notes them in the
    /// journal.
    pub fn note(&mut self) -> Result<(), StepError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let waiting = &self.done[self.noted..];
        let finished = waiting.iter().take_while(|entry| entry.end(self.layout) <= self.in_file);
        let finished = &waiting[..finished.count()];
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
