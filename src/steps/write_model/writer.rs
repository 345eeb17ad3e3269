//! Writes and hashes the rows of a model file in order, and notes finished tensors in its journal.

use std::sync::mpsc::{Receiver, Sender};

use sha2::{Digest, Sha256};

use crate::gguf::Layout;
use crate::steps::journal::{Entry, Journal};
use crate::steps::output::Output;
use crate::steps::{Context, Level, StepError, Unit};

/// What the writer is told.
pub enum Batch {
    /// The next rows of the current tensor.
    Rows(Vec<u8>),
    /// The current tensor is complete.
    End,
}

/// Writes and hashes what is made, in order.
pub struct Writer<'a> {
    pub ctx: &'a Context<'a>,
    pub output: Output,
    pub journal: Option<Journal>,
    pub layout: &'a Layout,
    pub sizes: &'a [u64],
    /// Finished tensors.
    pub done: Vec<Entry>,
    /// How many of them are on the disk and in the journal.
    pub noted: usize,
    /// Bytes that were written when they were.
    pub flushed: u64,
    pub flush_bytes: u64,
}

impl Writer<'_> {
    /// Writes the header, unless the file was continued.
    pub fn begin(&mut self, kept: Vec<Entry>) -> Result<(), StepError> {
        self.noted = kept.len();
        self.done = kept;
        if self.output.written() == 0 {
            self.output.write(self.layout.header())?;
        }
        self.flushed = self.output.written();
        Ok(())
    }

    /// Takes batches until there are no more; gives itself back with how it went.
    pub fn drain(
        mut self,
        batches: Receiver<Batch>,
        emptied: Sender<Vec<u8>>,
    ) -> (Self, Result<(), StepError>) {
        let mut hasher = Sha256::new();
        for batch in batches {
            let result = match batch {
                Batch::Rows(rows) => {
                    hasher.update(&rows);
                    let result = self.output.write(&rows);
                    self.ctx.progress(self.output.written(), self.layout.file_bytes(), Unit::Bytes);
                    // With the producer gone nobody needs the buffer.
                    let _ = emptied.send(rows);
                    result
                }
                Batch::End => self.end(std::mem::take(&mut hasher)),
            };
            if result.is_err() {
                return (self, result);
            }
        }
        (self, Ok(()))
    }

    /// Pads the current tensor.
    fn end(&mut self, hasher: Sha256) -> Result<(), StepError> {
        let tensor = self.done.len();
        let bytes = self.sizes[tensor];
        self.output.write(&vec![0; self.layout.padding(bytes)])?;
        self.done.push(Entry {
            tensor,
            offset: self.layout.offset(tensor),
            bytes,
            sha256: hex::encode(hasher.finalize()),
        });
        if self.output.written() - self.flushed >= self.flush_bytes {
            self.note()?;
        }
        Ok(())
    }

    /// Flushes finished tensors to the disk, then notes them in the journal.
    pub fn note(&mut self) -> Result<(), StepError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        self.output.sync()?;
        if let Err(e) = journal.append(&self.done[self.noted..]) {
            let message = format!("cannot write the journal: {e}; if killed, this starts anew");
            self.ctx.log(Level::Warn, message);
            self.journal = None;
        }
        self.noted = self.done.len();
        self.flushed = self.output.written();
        Ok(())
    }
}
