//! One file of a pass, from its first look at what a killed run left to its final name.

use std::fs::File;

use bytesize::ByteSize;
use sha2::Sha256;

use super::files::NewFile;
use super::journal::{Entry, Header, Keeper, journal_path, vouched};
use super::model::{NewModel, this_program};
use crate::files::{FileDigest, Journal, Output, Prefix};
use crate::gguf::bits_per_weight;
use crate::steps::{ErrorClass, Level, StepError, Unit, WrittenTensor};

/// A file that has its final name.
pub struct Finished {
    pub output: FileDigest,
    pub tensors: Vec<WrittenTensor>,
    /// Tensors taken over from a killed run.
    pub resumed_tensors: usize,
}

/// A file whose place is taken and whose header is written.
pub struct OpenFile<'a> {
    pub model: &'a NewModel<'a>,
    pub file: &'a NewFile,
    /// What the source was when this began.
    identity: String,
    /// Tensors taken over from a killed run.
    pub resumed_tensors: usize,
    pub output: Output,
    pub keeper: Keeper<'a>,
}

impl<'a> OpenFile<'a> {
    /// Opens the files of `model` and finds what is good of them. `promised` bytes of the disk are
    /// other files'; theirs are added.
    ///
    /// # Errors
    /// Those of [`OpenFile::new`], for any of them.
    pub fn all(
        model: &'a NewModel<'a>,
        files: &'a [NewFile],
        promised: &mut u64,
    ) -> Result<Vec<Self>, StepError> {
        let (before, mut all) = (*promised, Vec::with_capacity(files.len()));
        for file in files {
            match Self::new(model, file, *promised) {
                Ok(next) => {
                    *promised += file.layout.file_bytes() - next.output.written();
                    all.push(next);
                }
                Err(error) => {
                    *promised = before;
                    all.into_iter().for_each(Self::step_back);
                    return Err(error);
                }
            }
        }
        Ok(all)
    }

    /// Opens the file and finds what is good of it. `promised` bytes of the disk are other files'.
    ///
    /// # Errors
    /// [`ErrorClass::Host`] if it cannot be written; [`ErrorClass::Usage`] if it is there and not
    /// to be replaced; those of [`NewModel::identity`].
    fn new(model: &'a NewModel<'a>, file: &'a NewFile, promised: u64) -> Result<Self, StepError> {
        let (ctx, out, layout) = (model.ctx, file.path.as_path(), &file.layout);
        let identity = (model.identity)()?;
        let header = Header::new(model.digest(&identity, layout, &this_program()));
        let path = ctx.journals.as_ref().map(|directory| journal_path(directory, out));
        let mut done = Vec::new();
        let start = |partial: &File| -> Result<Prefix, StepError> {
            let Some(path) = &path else { return Ok(Prefix::default()) };
            let mut checking = false;
            let mut watch = |done: u64, total: u64| {
                if !std::mem::replace(&mut checking, true) {
                    let written = ByteSize(total).display().si();
                    ctx.stage(Some(format!("checking {written} already written")));
                }
                ctx.progress(done, total, Unit::Bytes);
                ctx.check_cancelled().is_ok()
            };
            let entries = Journal::entries(path, &header);
            let (entries, prefix) = vouched(entries, partial, file, model.hash_tensors, &mut watch);
            // What was not looked at may be good.
            ctx.check_cancelled()?;
            if checking {
                ctx.stage(None);
            }
            done = entries;
            Ok(prefix)
        };
        let expected = layout.file_bytes().saturating_add(promised);
        let mut output = Output::resume(out, &ctx.mark, expected, model.replace, start)?;
        let started = path.map(|path| Journal::start(&path, &header, &done)).transpose();
        let journal = started.unwrap_or_else(|e| {
            let message = format!("cannot write the journal: {e}; if killed, this starts anew");
            ctx.log(Level::Warn, message);
            None
        });
        if !done.is_empty() {
            let message = format!("continuing {out} behind {} tensors", done.len());
            ctx.log(Level::Info, message);
        }
        if output.written() == 0 {
            output.write(layout.header())?;
        }
        let resumed_tensors = done.len();
        let keeper = Keeper::new(model, file, &output, journal, done)?;
        Ok(Self { model, file, identity, resumed_tensors, output, keeper })
    }

    /// Whether the source is still what it was.
    ///
    /// # Errors
    /// [`ErrorClass::Input`] if it is not; those of [`NewModel::identity`].
    pub fn check_unchanged(&self) -> Result<(), StepError> {
        if (self.model.identity)()? == self.identity {
            return Ok(());
        }
        Err(StepError::input(format!(
            "the input of {} was changed while it was read, so what was written is neither the old \
            nor the new; run again when nobody writes to it",
            self.file.path
        )))
    }

    /// Gives the file its final name; `hasher` has been fed all of it.
    ///
    /// # Errors
    /// Those of [`Output::finish`].
    pub fn finish(mut self, hasher: Sha256) -> Result<Finished, StepError> {
        if self.keeper.journal.is_some() {
            // Where the last flush or the name fails, the next run has nothing left to make.
            self.output.keep_partial();
        }
        let output = self.output.finish_hashed(hasher)?;
        let Keeper { journal, done, .. } = self.keeper;
        journal.into_iter().for_each(Journal::remove);
        let infos = &self.file.infos;
        let bits_per_weight = bits_per_weight(infos);
        self.model.ctx.log(
            Level::Info,
            format!(
                "wrote {}: {} tensors, {} bytes, {bits_per_weight:.3} bits per weight, SHA-256 {}",
                output.path,
                infos.len(),
                output.bytes,
                output.sha256
            ),
        );
        let tensors = infos.iter().zip(done).map(|(info, entry): (_, Entry)| WrittenTensor {
            name: info.name.to_string(),
            ggml_type: info.ggml_type,
            bytes: entry.bytes,
            sha256: entry.tensor_sha256,
        });
        let (tensors, resumed_tensors) = (tensors.collect(), self.resumed_tensors);
        Ok(Finished { output, tensors, resumed_tensors })
    }

    /// Leaves what a killed run left, and nothing else: another file of the model cannot be written.
    fn step_back(self) {
        let keep = self.resumed_tensors > 0;
        self.close(keep);
    }

    /// Leaves the unfinished file for the next run to continue if `error` is one that the next run
    /// may not have, else nothing.
    pub fn give_up(self, error: &StepError) {
        let keep = self.keeper.journal.is_some() && can_continue(error);
        self.close(keep);
    }

    fn close(mut self, keep: bool) {
        if keep {
            self.output.keep_partial();
        } else if let Some(journal) = self.keeper.journal {
            journal.remove();
        }
    }
}

/// Whether another run may go on where this error came.
pub fn can_continue(error: &StepError) -> bool {
    matches!(error.class, ErrorClass::Interrupted | ErrorClass::Host)
}
