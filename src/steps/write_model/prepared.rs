//! One file of a pass, which may be a part of a model, from its first look at what a killed run left to
//! its final name.

use std::fs::File;

use bytesize::ByteSize;
use sha2::Sha256;

use super::parts::PartFile;
use super::program;
use super::vouched::{Entry, Header, Whole, journal_path, vouched};
use crate::files::{FileDigest, Journal, Output, Prefix};
use crate::gguf::{TensorInfo, bits_per_weight};
use crate::steps::{ErrorClass, Level, StepError, Unit, WrittenTensor};

/// A file that has its final name.
pub struct Finished {
    pub output: FileDigest,
    pub tensors: Vec<WrittenTensor>,
    pub infos: Vec<TensorInfo>,
    /// Tensors taken over from a killed run.
    pub resumed_tensors: usize,
}

/// A file whose place is taken and whose header is written.
pub struct Prepared<'a> {
    pub file: &'a PartFile<'a>,
    /// What the source was when this began.
    identity: String,
    /// Tensors taken over from a killed run.
    resumed_tensors: usize,
    /// Bytes of each tensor, without padding.
    pub sizes: Vec<u64>,
    pub output: Output,
    pub journal: Option<Journal>,
    /// Finished tensors.
    pub done: Vec<Entry>,
}

impl<'a> Prepared<'a> {
    /// Opens the files of one model and finds what is good of them. `promised` bytes of the disk are
    /// other files'; theirs are added.
    ///
    /// # Errors
    /// Those of [`Prepared::new`], for any of them.
    pub fn all(files: &'a [PartFile<'a>], promised: &mut u64) -> Result<Vec<Self>, StepError> {
        let (before, mut all) = (*promised, Vec::with_capacity(files.len()));
        for file in files {
            match Self::new(file, *promised) {
                Ok(next) => {
                    *promised += next.missing_bytes();
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
    /// to be replaced; [`ErrorClass::Step`] if it would be no GGUF file; those of
    /// [`ModelFile::identity`].
    fn new(file: &'a PartFile<'a>, promised: u64) -> Result<Self, StepError> {
        let PartFile { model, planned, infos } = file;
        let ctx = model.ctx;
        let (out, layout) = (planned.path.as_path(), &planned.layout);
        let sizes: Vec<u64> = infos.iter().map(TensorInfo::bytes).collect();
        let identity = (model.identity)()?;

        let header = Header::new(model.digest(&identity, layout, &program()));
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
            let whole = Whole { layout, sizes: &sizes, hash_tensors: model.hash_tensors };
            let (entries, prefix) = vouched(path, &header, partial, &whole, &mut watch);
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
        Ok(Self { file, identity, resumed_tensors, sizes, output, journal, done })
    }

    /// Bytes that are still to be written.
    fn missing_bytes(&self) -> u64 {
        self.file.planned.layout.file_bytes() - self.output.written()
    }

    /// Whether the source is still what it was.
    ///
    /// # Errors
    /// [`ErrorClass::Input`] if it is not; those of [`ModelFile::identity`].
    pub fn check_unchanged(&self) -> Result<(), StepError> {
        if (self.file.model.identity)()? == self.identity {
            return Ok(());
        }
        Err(StepError::input(format!(
            "the input of {} was changed while it was read, so what was written is neither \
                 the old nor the new; run again when nobody writes to it",
            self.file.planned.path
        )))
    }

    /// Gives the file its final name; `hasher` has been fed all of it.
    ///
    /// # Errors
    /// Those of [`Output::finish`].
    pub fn finish(mut self, hasher: Sha256) -> Result<Finished, StepError> {
        if self.journal.is_some() {
            // Where the last flush or the name fails, the next run has nothing left to make.
            self.output.keep_partial();
        }
        let output = self.output.finish_hashed(hasher)?;
        if let Some(journal) = self.journal {
            journal.remove();
        }
        let infos = &self.file.infos;
        let bits_per_weight = bits_per_weight(infos);
        self.file.model.ctx.log(
            Level::Info,
            format!(
                "wrote {}: {} tensors, {} bytes, {bits_per_weight:.3} bits per weight, SHA-256 {}",
                output.path,
                infos.len(),
                output.bytes,
                output.sha256
            ),
        );
        let tensors = infos.iter().zip(self.done).map(|(info, entry)| WrittenTensor {
            name: info.name.to_string(),
            ggml_type: info.ggml_type,
            bytes: entry.bytes,
            sha256: entry.tensor_sha256,
        });
        let (tensors, resumed_tensors) = (tensors.collect(), self.resumed_tensors);
        Ok(Finished { output, tensors, infos: infos.clone(), resumed_tensors })
    }

    /// Whether it is one of several files of its model, or could be.
    pub fn is_part(&self) -> bool {
        self.file.model.split.is_some()
    }

    /// Leaves what a killed run left, and nothing else: another file of the model cannot be written.
    fn step_back(mut self) {
        if self.resumed_tensors > 0 {
            self.output.keep_partial();
        } else if let Some(journal) = self.journal {
            journal.remove();
        }
    }

    /// Leaves the unfinished file for the next run to continue if `error` is one that the next run
    /// may not have, else nothing.
    pub fn give_up(mut self, error: &StepError) {
        if self.journal.is_some() && can_continue(error) {
            self.output.keep_partial();
        } else if let Some(journal) = self.journal {
            journal.remove();
        }
    }
}

/// Whether another run may go on where this error came.
pub fn can_continue(error: &StepError) -> bool {
    matches!(error.class, ErrorClass::Interrupted | ErrorClass::Host)
}
