//! Writes a model as a GGUF file: each tensor of a source in the type that was chosen for it.
//! Convert and quantize are both this, so a file is the same whichever way it was made. Rows are
//! made in parallel in bounded pieces and written in order; a killed run is continued through its
//! journal. Knows nothing of how types are chosen.

use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use camino::Utf8Path;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::journal::{Entry, Journal};
use super::output::Output;
use super::{Context, ErrorClass, Level, StepError, Unit, WriteResult, WrittenTensor};
use crate::ggml::{self, GgmlType, QuantizeError};
use crate::gguf::{Layout, Metadata, TensorInfo, TensorSource};

/// Weights that one thread makes at a time; their floats fit into a core's cache.
const PIECE: usize = 1 << 17;

/// Pieces that are made before they are handed to the writer together.
const PIECES: usize = 32;

/// Batches after which the source's pages are given back: a tensor may be larger than the memory.
const RELEASE_BATCHES: usize = 8;

/// Batches that may wait for the writer.
const QUEUE: usize = 2;

/// Bytes after which finished tensors are flushed to the disk and noted in the journal.
pub(super) const FLUSH_BYTES: u64 = 64 << 20;

/// A tensor to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its number in the source.
    pub source: usize,
    /// The type it gets.
    pub ggml_type: GgmlType,
}

/// A file to write.
pub(super) struct ModelFile<'a> {
    pub source: &'a dyn TensorSource,
    pub metadata: &'a Metadata,
    /// In file order.
    pub targets: &'a [Target],
    pub out: &'a Utf8Path,
    /// Replace `out` if it is there.
    pub replace: bool,
    /// What the source is, so that a journal of another one does not count.
    pub identity: &'a str,
    /// See [`FLUSH_BYTES`].
    pub flush_bytes: u64,
}

impl ModelFile<'_> {
    /// Name, type and shape of the tensors as they will be.
    pub fn infos(&self) -> Vec<TensorInfo> {
        infos(self.source, self.targets)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`ErrorClass::Input`] if a tensor cannot be read or has weights that are not finite;
    /// [`ErrorClass::Host`] if the file cannot be written; [`ErrorClass::Usage`] if it is there and
    /// not to be replaced; [`ErrorClass::Step`] if the types cannot be made of these tensors.
    pub fn write(&self, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
        let infos = self.infos();
        self.check_types()?;
        let layout = Layout::new(self.metadata, &infos)
            .map_err(|e| StepError::new(ErrorClass::Step, format!("{}: {e}", self.out)))?;
        let sizes: Vec<u64> = infos.iter().map(TensorInfo::bytes).collect();

        let mut journal =
            ctx.journals.as_ref().map(|d| Journal::new(d, self.out, self.digest(&layout)));
        let mut kept = Vec::new();
        let output = Output::resume(self.out, layout.file_bytes(), self.replace, |partial| {
            if let Some(journal) = &journal {
                kept = journal.vouched(partial, &layout, &sizes);
            }
            match kept.last() {
                Some(last) => last.offset + last.bytes + layout.padding(last.bytes) as u64,
                None => 0,
            }
        })?;
        if let Some(j) = &mut journal
            && let Err(e) = j.start(&kept)
        {
            let message = format!("cannot write the journal: {e}; if killed, this starts anew");
            ctx.log(Level::Warn, message);
            journal = None;
        }
        if !kept.is_empty() {
            let message = format!("continuing {} behind {} tensors", self.out, kept.len());
            ctx.log(Level::Info, message);
        }

        let writer = Writer {
            ctx,
            output,
            journal,
            layout: &layout,
            sizes: &sizes,
            done: Vec::new(),
            noted: 0,
            flushed: 0,
            flush_bytes: self.flush_bytes,
        };
        let resumed_tensors = kept.len();
        let (output, done, journal) = self.run(writer, kept, &infos, ctx)?;
        let output = output.finish()?;
        if let Some(journal) = journal {
            journal.remove();
        }
        let (bytes, elements) = totals(&infos);
        let tensors = infos.iter().zip(done).map(|(info, entry)| WrittenTensor {
            name: info.name.clone(),
            ggml_type: info.ggml_type,
            bytes: entry.bytes,
            sha256: entry.sha256,
        });
        Ok(WriteResult {
            output,
            tensors: tensors.collect(),
            resumed_tensors,
            bits_per_weight: bytes as f64 * 8.0 / elements as f64,
        })
    }

    /// Whether every type that has to be computed with can be, before anything is written.
    fn check_types(&self) -> Result<(), StepError> {
        for target in self.targets {
            let info = &self.source.tensors()[target.source];
            if info.ggml_type == target.ggml_type {
                continue;
            }
            for ty in [info.ggml_type, target.ggml_type] {
                // An empty tensor asks for nothing but whether the type is known.
                ggml::dequantize(ty, &[], &mut []).map_err(|e| {
                    StepError::new(
                        ErrorClass::Step,
                        format!(
                            "cannot make tensor {} {} from {}: {e}",
                            info.name, target.ggml_type, info.ggml_type
                        ),
                    )
                })?;
            }
        }
        Ok(())
    }

    /// What the file is made from and how, as one digest.
    fn digest(&self, layout: &Layout) -> String {
        let mut hasher = Sha256::new();
        hasher.update(env!("CARGO_PKG_VERSION"));
        hasher.update([0]);
        hasher.update(self.identity);
        hasher.update([0]);
        // Metadata, names, shapes and types.
        hasher.update(layout.header());
        hex::encode(hasher.finalize())
    }

    /// Makes tensors on the pool while a thread of its own writes and hashes them.
    fn run<'w>(
        &self,
        mut writer: Writer<'w>,
        kept: Vec<Entry>,
        infos: &[TensorInfo],
        ctx: &Context<'_>,
    ) -> Result<(Output, Vec<Entry>, Option<Journal>), StepError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(ctx.threads)
            .build()
            .map_err(|e| StepError::new(ErrorClass::Host, format!("cannot start threads: {e}")))?;
        let first = kept.len();
        writer.begin(kept)?;
        let (batches, received) = mpsc::sync_channel(QUEUE);
        let (emptied, empty) = mpsc::channel();
        let (produced, (mut writer, written)) = thread::scope(|scope| {
            let writing = scope.spawn(move || writer.drain(received, emptied));
            let mut producer = Producer { file: self, infos, ctx, batches, empty };
            let produced = pool.install(|| producer.run(first));
            drop(producer);
            let drained = match writing.join() {
                Ok(drained) => drained,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            (produced, drained)
        });
        // Where the writer failed, the producer only says that nobody listens.
        let result = written.and(produced);
        let result = result.and_then(|()| writer.note());
        if let Err(error) = result {
            let again = matches!(error.class, ErrorClass::Interrupted | ErrorClass::Host);
            if writer.journal.is_some() && again {
                // The next run continues; a flush that fails now only means less to continue from.
                let _ = writer.note();
                writer.output.keep_partial();
            } else if let Some(journal) = writer.journal.take() {
                journal.remove();
            }
            return Err(error);
        }
        Ok((writer.output, writer.done, writer.journal))
    }
}

/// Name, type and shape of `targets`.
pub(super) fn infos(source: &dyn TensorSource, targets: &[Target]) -> Vec<TensorInfo> {
    targets
        .iter()
        .map(|t| TensorInfo { ggml_type: t.ggml_type, ..source.tensors()[t.source].clone() })
        .collect()
}

/// Bytes of data and number of weights.
pub(super) fn totals(infos: &[TensorInfo]) -> (u64, u64) {
    infos.iter().fold((0, 0), |(b, e), info| (b + info.bytes(), e + info.elements()))
}

/// What the writer is told.
enum Batch {
    /// The next rows of the current tensor.
    Rows(Vec<u8>),
    /// The current tensor is complete.
    End,
}

/// Makes the rows.
struct Producer<'a> {
    file: &'a ModelFile<'a>,
    infos: &'a [TensorInfo],
    ctx: &'a Context<'a>,
    batches: SyncSender<Batch>,
    /// Buffers that the writer is done with.
    empty: Receiver<Vec<u8>>,
}

impl Producer<'_> {
    fn run(&mut self, first: usize) -> Result<(), StepError> {
        for (target, info) in self.file.targets.iter().zip(self.infos).skip(first) {
            let row_bytes = info.row_bytes();
            let piece_rows = (PIECE / info.columns()).max(1);
            let batch_rows = piece_rows * PIECES;
            for (number, start) in (0..info.rows()).step_by(batch_rows).enumerate() {
                self.ctx.check_cancelled()?;
                if number % RELEASE_BATCHES == RELEASE_BATCHES - 1 {
                    self.file.source.release(target.source);
                }
                let rows = batch_rows.min(info.rows() - start);
                let mut batch = self.empty.try_recv().unwrap_or_default();
                batch.resize(rows * row_bytes, 0);
                let failed = batch
                    .par_chunks_mut(piece_rows * row_bytes)
                    .enumerate()
                    .map_init(Scratch::default, |scratch, (i, out)| {
                        scratch.make(self.file.source, *target, info, start + i * piece_rows, out)
                    })
                    // The first in the file's order, whichever thread was faster.
                    .find_map_first(Result::err);
                if let Some(error) = failed {
                    return Err(error);
                }
                self.send(Batch::Rows(batch))?;
            }
            self.send(Batch::End)?;
            self.file.source.release(target.source);
        }
        Ok(())
    }

    fn send(&self, batch: Batch) -> Result<(), StepError> {
        self.batches
            .send(batch)
            .map_err(|_| StepError::new(ErrorClass::Host, "the writer of the file has stopped"))
    }
}

/// A thread's own buffers.
#[derive(Default)]
struct Scratch {
    stored: Vec<u8>,
    floats: Vec<f32>,
}

impl Scratch {
    /// Makes rows from `first` on, as many as `out` takes.
    fn make(
        &mut self,
        source: &dyn TensorSource,
        target: Target,
        info: &TensorInfo,
        first: usize,
        out: &mut [u8],
    ) -> Result<(), StepError> {
        let from = &source.tensors()[target.source];
        let rows = first..first + out.len() / info.row_bytes();
        let input = |e: String| StepError::new(ErrorClass::Input, e);
        if from.ggml_type == target.ggml_type {
            source.read_rows(target.source, rows, out).map_err(|e| input(e.to_string()))?;
            return check_finite(info, first, out);
        }

        let (size, whole) = (from.row_bytes(), source.bytes(target.source));
        let stored = match whole {
            Some(bytes) => &bytes[rows.start * size..rows.end * size],
            None => {
                self.stored.resize(rows.len() * size, 0);
                source
                    .read_rows(target.source, rows.clone(), &mut self.stored)
                    .map_err(|e| input(e.to_string()))?;
                &self.stored
            }
        };
        self.floats.resize(rows.len() * info.columns(), 0.0);
        ggml::dequantize(from.ggml_type, stored, &mut self.floats)
            .map_err(|e| StepError::new(ErrorClass::Step, format!("tensor {}: {e}", info.name)))?;
        ggml::quantize(target.ggml_type, &self.floats, info.columns(), None, out)
            .map_err(|e| quantize_error(info, first, e))
    }
}

/// An error whose rows count from the tensor's first.
fn quantize_error(info: &TensorInfo, first: usize, error: QuantizeError) -> StepError {
    let name = &info.name;
    match error {
        QuantizeError::NotFinite { row, column, value } => StepError::new(
            ErrorClass::Input,
            format!(
                "tensor {name}: row {}, column {column} is {value}; expected finite weights: the \
                 input is damaged or its training failed",
                first + row
            ),
        ),
        QuantizeError::OutOfRange { ty, row, largest } => {
            let error = QuantizeError::OutOfRange { ty, row: first + row, largest };
            StepError::new(ErrorClass::Step, format!("tensor {name}: {error}"))
        }
        other => StepError::new(ErrorClass::Step, format!("tensor {name}: {other}")),
    }
}

/// Refuses NaN and infinity in rows that are copied.
fn check_finite(info: &TensorInfo, first: usize, rows: &[u8]) -> Result<(), StepError> {
    // A type that cannot be computed with yet can still be copied; nothing is known of its values.
    let Ok(Some(block)) = ggml::first_non_finite_block(info.ggml_type, rows) else {
        return Ok(());
    };
    let blocks_per_row = info.columns() / info.ggml_type.block_size();
    let row = first + block / blocks_per_row;
    let column = block % blocks_per_row * info.ggml_type.block_size();
    Err(StepError::new(
        ErrorClass::Input,
        format!(
            "tensor {}: row {row} is not finite from column {column} on; expected finite weights: \
             the input is damaged or its training failed",
            info.name
        ),
    ))
}

/// Writes and hashes what is made, in order.
struct Writer<'a> {
    ctx: &'a Context<'a>,
    output: Output,
    journal: Option<Journal>,
    layout: &'a Layout,
    sizes: &'a [u64],
    /// Finished tensors.
    done: Vec<Entry>,
    /// How many of them are on the disk and in the journal.
    noted: usize,
    /// Bytes that were written when they were.
    flushed: u64,
    flush_bytes: u64,
}

impl<'a> Writer<'a> {
    /// Writes the header, unless the file was continued.
    fn begin(&mut self, kept: Vec<Entry>) -> Result<(), StepError> {
        self.noted = kept.len();
        self.done = kept;
        if self.output.written() == 0 {
            self.output.write(self.layout.header())?;
        }
        self.flushed = self.output.written();
        Ok(())
    }

    /// Takes batches until there are no more; gives itself back with how it went.
    fn drain(
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
    fn note(&mut self) -> Result<(), StepError> {
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

#[cfg(test)]
#[path = "write_model_tests.rs"]
mod tests;
