//! Writes parts to their files in order, whichever thread was faster, and hands them on to those
//! that hash and keep account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::{panic, thread};

use super::ModelFile;
use super::behind::Behind;
use super::keeper::Note;
use super::rows::Made;
use crate::files::Output;
use crate::gguf::Layout;
use crate::steps::{Context, StepError, Unit};

/// A part by its number, or why there is none: an error, or the panic of its maker.
pub type Numbered = (usize, thread::Result<Result<Made, StepError>>);

/// One file as the writer sees it.
pub struct Sink<'a> {
    pub output: &'a mut Output,
    /// The model that it is of; its other files stand beside it.
    pub model: &'a ModelFile<'a>,
    /// Number of its first tensor in the pass.
    pub first: usize,
    pub layout: &'a Layout,
    /// Bytes of each of its tensors, without padding.
    pub sizes: &'a [u64],
    pub keeper: Sender<Note>,
    /// The thread that hashes it.
    pub digest: Sender<Arc<Made>>,
    /// The thread that hashes those of its tensors of which it is the first file, if one does.
    pub tensors: Option<Sender<Arc<Made>>>,
}

/// Writes one or more files.
pub struct Writer<'a> {
    pub ctx: &'a Context<'a>,
    pub sinks: Vec<Sink<'a>>,
    pub behind: Behind<'a>,
}

impl Writer<'_> {
    /// Writes what is made, until there is no more.
    ///
    /// # Errors
    /// What the first part in order failed with; [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if a file cannot be written;
    /// [`ErrorClass::Interrupted`](crate::steps::ErrorClass::Interrupted).
    pub fn run(mut self, parts: Receiver<Numbered>) -> Result<(), StepError> {
        let result = self.write_all(parts);
        if result.is_err() {
            // What another run may continue is not left in memory.
            for sink in &mut self.sinks {
                if sink.output.drain().is_ok() {
                    // A keeper that is gone has said why.
                    let _ = sink.keeper.send(Note::InFile(sink.output.in_file()));
                }
            }
        }
        result
    }

    fn write_all(&mut self, parts: Receiver<Numbered>) -> Result<(), StepError> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, part) in parts {
            early.insert(number, part);
            while let Some(part) = early.remove(&next) {
                match part {
                    Ok(made) => self.write(made?)?,
                    Err(cause) => panic::resume_unwind(cause),
                }
                next += 1;
            }
        }
        Ok(())
    }

    fn write(&mut self, made: Made) -> Result<(), StepError> {
        self.ctx.check_cancelled()?;
        let made = Arc::new(made);
        for (form, bytes) in &made.forms {
            if let Some(tensors) = form.files.first().and_then(|f| self.sinks[*f].tensors.as_ref())
            {
                // As below.
                let _ = tensors.send(Arc::clone(&made));
            }
            for &file in &form.files {
                let sink = &mut self.sinks[file];
                // It listens as long as there is something to hash.
                let _ = sink.digest.send(Arc::clone(&made));
                sink.output.append(bytes)?;
                if made.part.last {
                    let tensor = made.part.tensor - sink.first;
                    let padding = sink.layout.padding(sink.sizes[tensor]);
                    sink.output.append(&vec![0; padding])?;
                    if tensor + 1 == sink.sizes.len() {
                        // Other files come now, and this one needs no memory any more.
                        sink.output.drain()?;
                    }
                }
                let stopped = |_| StepError::host("the flushing has stopped");
                sink.keeper.send(Note::InFile(sink.output.in_file())).map_err(stopped)?;
            }
        }
        self.behind.pass(&made.part);
        for files in self.sinks.chunk_by(|a, b| std::ptr::eq(a.model, b.model)) {
            let done = files.iter().map(|s| s.output.written()).sum();
            let total = files.iter().map(|s| s.layout.file_bytes()).sum();
            files[0].model.ctx.progress(done, total, Unit::Bytes);
        }
        Ok(())
    }
}
