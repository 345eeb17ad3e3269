//! Appends pieces to their files in order, whichever thread was faster, and hands them on to those that
//! hash them and keep account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::{panic, thread};

use super::files::NewFile;
use super::journal::Advance;
use super::maker::MadePiece;
use super::model::NewModel;
use super::pieces::Behind;
use crate::files::Output;
use crate::steps::{Context, StepError, Unit};

/// A piece by its number, or why there is none: an error, or the panic of its maker.
pub type Numbered = (usize, thread::Result<Result<MadePiece, StepError>>);

/// Writes one file.
pub struct FileWriter<'a> {
    pub output: &'a mut Output,
    /// The model that it is of; its other files stand beside it.
    pub model: &'a NewModel<'a>,
    pub file: &'a NewFile,
    pub keeper: Sender<Advance>,
    /// The thread that hashes it.
    pub hasher: Sender<Arc<MadePiece>>,
    /// The thread that hashes those of its tensors of which it is the first file, if one does.
    pub tensor_hasher: Option<Sender<Arc<MadePiece>>>,
}

impl FileWriter<'_> {
    /// Writes what `made` is in this file.
    fn append(&mut self, made: &Arc<MadePiece>, bytes: &[u8]) -> Result<(), StepError> {
        // It listens as long as there is something to hash.
        let _ = self.hasher.send(Arc::clone(made));
        self.output.append(bytes)?;
        if made.piece.last {
            let tensor = made.piece.tensor - self.file.tensors.start;
            self.output.append(&vec![0; self.file.padding(tensor)])?;
            if tensor + 1 == self.file.infos.len() {
                // Other files come now, and this one needs no memory any more.
                self.output.drain()?;
            }
        }
        let stopped = |_| StepError::host("the flushing has stopped");
        self.keeper.send(Advance::InFile(self.output.in_file())).map_err(stopped)
    }
}

/// Writes one or more files.
pub struct Writer<'a> {
    pub ctx: &'a Context<'a>,
    pub files: Vec<FileWriter<'a>>,
    pub behind: Behind<'a>,
}

impl Writer<'_> {
    /// Writes what is made, until there is no more.
    ///
    /// # Errors
    /// What the first piece in order failed with;
    /// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if a file cannot be written;
    /// [`ErrorClass::Interrupted`](crate::steps::ErrorClass::Interrupted).
    pub fn run(mut self, pieces: Receiver<Numbered>) -> Result<(), StepError> {
        let result = self.write_all(pieces);
        if result.is_err() {
            // What another run may continue is not left in memory.
            for file in &mut self.files {
                if file.output.drain().is_ok() {
                    // A keeper that is gone has said why.
                    let _ = file.keeper.send(Advance::InFile(file.output.in_file()));
                }
            }
        }
        result
    }

    fn write_all(&mut self, pieces: Receiver<Numbered>) -> Result<(), StepError> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, made) in pieces {
            early.insert(number, made);
            while let Some(made) = early.remove(&next) {
                match made {
                    Ok(made) => self.write(made?)?,
                    Err(cause) => panic::resume_unwind(cause),
                }
                next += 1;
            }
        }
        Ok(())
    }

    fn write(&mut self, made: MadePiece) -> Result<(), StepError> {
        self.ctx.check_cancelled()?;
        let made = Arc::new(made);
        for (variant, bytes) in &made.variants {
            let first = variant.files.first();
            if let Some(hasher) = first.and_then(|f| self.files[*f].tensor_hasher.as_ref()) {
                // As for files.
                let _ = hasher.send(Arc::clone(&made));
            }
            for &file in &variant.files {
                self.files[file].append(&made, bytes)?;
            }
        }
        self.behind.add(&made.piece);
        for files in self.files.chunk_by(|a, b| std::ptr::eq(a.model, b.model)) {
            let done = files.iter().map(|f| f.output.written()).sum();
            let total = files.iter().map(|f| f.file.layout.file_bytes()).sum();
            files[0].model.ctx.progress(done, total, Unit::Bytes);
        }
        Ok(())
    }
}
