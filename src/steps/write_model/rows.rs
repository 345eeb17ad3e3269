//! Makes the rows of a model file, in parallel and in bounded pieces: copied where the type stays,
//! else dequantized and quantized. Knows nothing of files.

use std::sync::mpsc::{Receiver, SyncSender};

use rayon::prelude::*;

use super::writer::Batch;
use super::{ModelFile, Target, matrix_rows};
use crate::ggml::{self, GgmlType, QuantizeError};
use crate::gguf::{Importance, TensorInfo, TensorSource};
use crate::steps::{Context, ErrorClass, StepError};

/// Weights that one thread makes at a time; their floats fit into a core's cache.
const PIECE: usize = 1 << 17;

/// Pieces that are made before they are handed to the writer together.
const PIECES: usize = 32;

/// Batches after which the source's pages are given back: a tensor may be larger than the memory.
const RELEASE_BATCHES: usize = 8;

/// Makes the rows.
pub struct Producer<'a> {
    pub file: &'a ModelFile<'a>,
    pub infos: &'a [TensorInfo],
    pub ctx: &'a Context<'a>,
    pub batches: SyncSender<Batch>,
    /// Buffers that the writer is done with.
    pub empty: Receiver<Vec<u8>>,
}

impl Producer<'_> {
    /// Makes every target from number `first` on.
    pub fn run(&mut self, first: usize) -> Result<(), StepError> {
        for (target, info) in self.file.targets.iter().zip(self.infos).skip(first) {
            let row_bytes = info.row_bytes();
            let importance = self.file.importance(info);
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
                        let first = start + i * piece_rows;
                        scratch.make(self.file.source, *target, info, importance, first, out)
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
    importance: Vec<f32>,
}

impl Scratch {
    /// Makes rows from `first` on, as many as `out` takes.
    fn make(
        &mut self,
        source: &dyn TensorSource,
        target: Target,
        info: &TensorInfo,
        importance: Option<Importance<'_>>,
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
        let Some(importance) = importance else {
            return ggml::quantize(target.ggml_type, &self.floats, info.columns(), None, out)
                .map_err(|e| quantize_error(info, first, e));
        };
        self.quantize_by_matrix(target.ggml_type, info, importance, first, out)
    }

    /// Quantizes the floats, rows from `first` on: those of one matrix at a time, because each
    /// expert has an importance of its own.
    fn quantize_by_matrix(
        &mut self,
        ty: GgmlType,
        info: &TensorInfo,
        importance: Importance<'_>,
        first: usize,
        out: &mut [u8],
    ) -> Result<(), StepError> {
        let (columns, row_bytes) = (info.columns(), info.row_bytes());
        let end = first + out.len() / row_bytes;
        let mut row = first;
        while row < end {
            let matrix = row / matrix_rows(info);
            let next = end.min((matrix + 1) * matrix_rows(info));
            importance.read(matrix, columns, &mut self.importance);
            let floats = &self.floats[(row - first) * columns..(next - first) * columns];
            let out = &mut out[(row - first) * row_bytes..(next - first) * row_bytes];
            ggml::quantize(ty, floats, columns, Some(&self.importance), out)
                .map_err(|e| quantize_error(info, row, e))?;
            row = next;
        }
        Ok(())
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
    let Some(block) = ggml::first_non_finite_block(info.ggml_type, rows) else {
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
