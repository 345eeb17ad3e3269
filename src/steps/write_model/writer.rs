//! Writes parts to their files in order, whichever thread was faster, and hands them on to those
//! that hash and keep account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;

use super::keeper::Note;
use super::rows::{Data, Made};
use crate::gguf::Layout;
use crate::steps::output::Output;
use crate::steps::{Context, ErrorClass, StepError, Unit};

/// A part by its number, or why there is none: an error, or the panic of its maker.
pub type Numbered<'a> = (usize, thread::Result<Result<Made<'a>, StepError>>);

/// One file as the writer sees it.
pub struct Sink<'a> {
    pub output: &'a mut Output,
    pub layout: &'a Layout,
    /// Bytes of each tensor, without padding.
    pub sizes: &'a [u64],
    pub keeper: Sender<Note>,
}

/// Writes one or more files.
pub struct Writer<'a, 'm> {
    pub ctx: &'a Context<'a>,
    pub sinks: Vec<Sink<'a>>,
    /// Threads that hash.
    pub digests: Vec<Sender<Arc<Made<'m>>>>,
}

impl<'m> Writer<'_, 'm> {
    /// Writes what is made, until there is no more.
    ///
    /// # Errors
    /// What the first part in order failed with; [`ErrorClass::Host`] if a file cannot be written;
    /// [`ErrorClass::Interrupted`].
    pub fn run(mut self, parts: Receiver<Numbered<'m>>) -> Result<(), StepError> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        for (number, part) in parts {
            early.insert(number, part);
            while let Some(part) = early.remove(&next) {
                match part {
                    Ok(made) => self.write(made?)?,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
                next += 1;
            }
        }
        Ok(())
    }

    fn write(&mut self, made: Made<'m>) -> Result<(), StepError> {
        self.ctx.check_cancelled()?;
        for (form, data) in &made.forms {
            for &file in &form.files {
                let sink = &mut self.sinks[file];
                match data {
                    Data::InPlace(bytes, Some((from, offset))) => {
                        sink.output.append_copy(bytes, from, *offset)?;
                    }
                    data => sink.output.append(data.bytes())?,
                }
                if made.part.last {
                    let padding = sink.layout.padding(sink.sizes[made.part.tensor]);
                    sink.output.append(&vec![0; padding])?;
                }
                let stopped = |_| StepError::new(ErrorClass::Host, "the flushing has stopped");
                sink.keeper.send(Note::Written(sink.output.written())).map_err(stopped)?;
            }
        }
        let made = Arc::new(made);
        for digest in &self.digests {
            // It listens as long as there is something to hash.
            let _ = digest.send(Arc::clone(&made));
        }
        let done = self.sinks.iter().map(|s| s.output.written()).sum();
        let total = self.sinks.iter().map(|s| s.layout.file_bytes()).sum();
        self.ctx.progress(done, total, Unit::Bytes);
        Ok(())
    }
}
