//! Writes a model as a GGUF file: each tensor of a source in the type that was chosen for it.
//! Convert and quantize are both this, so a file is the same whichever way it was made. Rows are
//! made in parallel in bounded pieces and written in order; a killed run is continued through its
//! journal. Knows nothing of how types are chosen.

mod rows;
mod writer;

use std::os::unix::fs::MetadataExt;
use std::sync::mpsc;
use std::thread;

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use super::journal::{Entry, Journal};
use super::output::Output;
use super::{Context, ErrorClass, Level, StepError, WriteResult, WrittenTensor};
use crate::ggml::{self, GgmlType};
use crate::gguf::{Imatrix, Importance, Layout, Metadata, TensorInfo, TensorSource};
use rows::Producer;
use writer::Writer;

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
    /// How much the columns weigh where a tensor is quantized, for those tensors that it holds.
    pub importance: Option<&'a Imatrix>,
    /// See [`FLUSH_BYTES`].
    pub flush_bytes: u64,
}

impl ModelFile<'_> {
    /// Name, type and shape of the tensors as they will be.
    pub fn infos(&self) -> Vec<TensorInfo> {
        infos(self.source, self.targets)
    }

    /// How much the columns of a tensor weigh; `None` too where the matrix is not of its size, as
    /// may be for the token embedding.
    fn importance(&self, info: &TensorInfo) -> Option<Importance<'_>> {
        let importance = self.importance?.get(&info.name)?;
        (importance.len() == info.columns() * matrices(info)).then_some(importance)
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

        let mut journal = ctx
            .journals
            .as_ref()
            .map(|d| Journal::new(d, self.out, self.digest(&layout, &program())));
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
        let bits_per_weight = bytes as f64 * 8.0 / elements as f64;
        ctx.log(
            Level::Info,
            format!(
                "wrote {}: {} tensors, {} bytes, {bits_per_weight:.3} bits per weight, SHA-256 {}",
                output.path,
                infos.len(),
                output.bytes,
                output.sha256
            ),
        );
        let tensors = infos.iter().zip(done).map(|(info, entry)| WrittenTensor {
            name: info.name.clone(),
            ggml_type: info.ggml_type,
            bytes: entry.bytes,
            sha256: entry.sha256,
        });
        Ok(WriteResult { output, tensors: tensors.collect(), resumed_tensors, bits_per_weight })
    }

    /// Refuses types that need an importance matrix, before anything is written.
    fn check_types(&self) -> Result<(), StepError> {
        for target in self.targets {
            let info = &self.source.tensors()[target.source];
            if info.ggml_type != target.ggml_type
                && ggml::needs_importance(target.ggml_type)
                && self.importance(info).is_none()
            {
                let error = ggml::QuantizeError::NeedsImportance(target.ggml_type);
                let message = format!("tensor {}: {error}", info.name);
                return Err(StepError::new(ErrorClass::Step, message));
            }
        }
        Ok(())
    }

    /// What the file is made from and how, as one digest.
    fn digest(&self, layout: &Layout, program: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(program);
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

/// Tells one build of qrun from another: what another one wrote is not continued.
fn program() -> String {
    let stamp = std::env::current_exe()
        .and_then(std::fs::metadata)
        .map_or(String::new(), |m| format!("{} {}.{}", m.len(), m.mtime(), m.mtime_nsec()));
    format!("{} {stamp}", env!("CARGO_PKG_VERSION"))
}

/// Name, type and shape of `targets`.
pub(super) fn infos(source: &dyn TensorSource, targets: &[Target]) -> Vec<TensorInfo> {
    targets
        .iter()
        .map(|t| TensorInfo { ggml_type: t.ggml_type, ..source.tensors()[t.source].clone() })
        .collect()
}

/// Matrices that a tensor is made of: one, or one for each expert.
pub(super) fn matrices(info: &TensorInfo) -> usize {
    info.rows() / matrix_rows(info)
}

/// Rows of each of its matrices.
fn matrix_rows(info: &TensorInfo) -> usize {
    info.shape.get(1).map_or(1, |&rows| rows as usize)
}

/// Bytes of data and number of weights.
pub(super) fn totals(infos: &[TensorInfo]) -> (u64, u64) {
    infos.iter().fold((0, 0), |(b, e), info| (b + info.bytes(), e + info.elements()))
}

#[cfg(test)]
mod tests;
