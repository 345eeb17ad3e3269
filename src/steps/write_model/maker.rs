//! Makes pieces of tensors: read where the type stays, else dequantized once and quantized to each
//! type that is wanted. Knows nothing of files.

use std::sync::mpsc::Sender;

use super::model::matrix_rows;
use super::pass::{Pass, Variant};
use super::pieces::{Buffers, Piece, Span};
use crate::ggml::{self, GgmlType, QuantizeError};
use crate::gguf::{Importance, TensorInfo};
use crate::steps::StepError;

/// Weights that are made at a time; their floats fit into a core's cache.
const CACHED: usize = 1 << 17;

/// A piece in every type that it is wanted in. Dropped, it gives its buffers back.
pub struct MadePiece {
    pub piece: Piece,
    /// The types with their bytes.
    pub variants: Vec<(Variant, Vec<u8>)>,
    home: Sender<Buffers>,
}

impl MadePiece {
    /// What it is in file `number`, if it is in that.
    pub fn variant_of(&self, number: usize) -> Option<&(Variant, Vec<u8>)> {
        self.variants.iter().find(|(variant, _)| variant.files.contains(&number))
    }
}

impl Drop for MadePiece {
    fn drop(&mut self) {
        let buffers = self.variants.drain(..).map(|(_, buffer)| buffer).collect();
        // With nobody left to make anything, nobody needs them.
        let _ = self.home.send(buffers);
    }
}

/// Makes pieces, one after the other: what a thread keeps from one to the next.
pub struct Maker<'a> {
    pass: &'a Pass<'a>,
    home: Sender<Buffers>,
    stored: Vec<u8>,
    floats: Vec<f32>,
    importance: Vec<f32>,
}

impl<'a> Maker<'a> {
    /// A maker whose buffers go back to `home`.
    pub fn new(pass: &'a Pass<'a>, home: Sender<Buffers>) -> Self {
        let (stored, floats, importance) = (Vec::new(), Vec::new(), Vec::new());
        Self { pass, home, stored, floats, importance }
    }

    /// Makes `piece` in `buffers`.
    ///
    /// # Errors
    /// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if it cannot be read or has weights
    /// that are not finite; [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if a type cannot
    /// be made of it; [`ErrorClass::Interrupted`](crate::steps::ErrorClass::Interrupted).
    pub fn make(&mut self, piece: Piece, buffers: Buffers) -> Result<MadePiece, StepError> {
        let (tensor, columns) = (piece.tensor, self.pass.from(piece.tensor).columns());
        let mut buffers = buffers.into_iter();
        let room = |variant: Variant| {
            let range = piece.span.bytes(variant.ggml_type, columns);
            let mut buffer = buffers.next().unwrap_or_default();
            buffer.resize(range.len(), 0);
            (variant, range.start, buffer)
        };
        let mut made: Vec<_> = self.pass.variants(tensor).into_iter().map(room).collect();
        for span in piece.span.clone().split(CACHED, self.pass.can_cut_rows(tensor)) {
            self.pass.ctx().check_cancelled()?;
            let mut widened = false;
            for (variant, start, buffer) in &mut made {
                let range = span.bytes(variant.ggml_type, columns);
                let out = &mut buffer[range.start - *start..range.end - *start];
                self.fill(tensor, &span, variant, out, &mut widened)?;
            }
        }
        let variants = made.into_iter().map(|(variant, _, buffer)| (variant, buffer)).collect();
        Ok(MadePiece { piece, variants, home: self.home.clone() })
    }

    /// Makes one span in one type; `widened` says whether its floats are there.
    fn fill(
        &mut self,
        tensor: usize,
        span: &Span,
        variant: &Variant,
        out: &mut [u8],
        widened: &mut bool,
    ) -> Result<(), StepError> {
        let (from, ty) = (self.pass.from(tensor), variant.ggml_type);
        if ty == from.ggml_type {
            self.read(tensor, span, out)?;
            return check_finite(from, span, out);
        }
        let ty = computable(&from.in_type(ty))?;
        if !*widened {
            self.widen(tensor, span)?;
            *widened = true;
        }
        match self.pass.importance(tensor, variant) {
            Some(importance) => self.quantize_by_matrix(ty, from, importance, span, out),
            None => ggml::quantize(ty, &self.floats, span.columns.len(), None, out)
                .map_err(|e| quantize_error(from, span, e)),
        }
    }

    /// Quantizes the floats, those of one matrix at a time, because each expert has an importance
    /// of its own.
    fn quantize_by_matrix(
        &mut self,
        ty: GgmlType,
        info: &TensorInfo,
        importance: Importance<'_>,
        span: &Span,
        out: &mut [u8],
    ) -> Result<(), StepError> {
        let (columns, row_bytes) = (info.columns(), out.len() / span.rows.len());
        let mut row = span.rows.start;
        while row < span.rows.end {
            let matrix = row / matrix_rows(info);
            let next = span.rows.end.min((matrix + 1) * matrix_rows(info));
            importance.read(matrix, columns, &mut self.importance);
            let at = row - span.rows.start..next - span.rows.start;
            let floats = &self.floats[at.start * columns..at.end * columns];
            let out = &mut out[at.start * row_bytes..at.end * row_bytes];
            let rows = Span { rows: row..next, columns: span.columns.clone() };
            ggml::quantize(ty, floats, columns, Some(&self.importance), out)
                .map_err(|e| quantize_error(info, &rows, e))?;
            row = next;
        }
        Ok(())
    }

    /// Fills the floats with a span's.
    fn widen(&mut self, tensor: usize, span: &Span) -> Result<(), StepError> {
        let from = self.pass.from(tensor);
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(span.bytes(from.ggml_type, from.columns()).len(), 0);
        self.read(tensor, span, &mut stored)?;
        self.floats.resize(span.weights(), 0.0);
        ggml::dequantize(computable(from)?, &stored, &mut self.floats)
            .map_err(|e| StepError::failed(format!("tensor {}: {e}", from.name)))?;
        self.stored = stored;
        Ok(())
    }

    /// Fills `out` with the bytes of a span as the source has them.
    fn read(&self, tensor: usize, span: &Span, out: &mut [u8]) -> Result<(), StepError> {
        let (source, number) = (self.pass.source(), self.pass.source_tensor(tensor));
        let from = self.pass.from(tensor);
        match source.bytes(number) {
            // A source gives whole rows only, but for those that are in place.
            Some(bytes) if span.columns.len() < from.columns() => {
                out.copy_from_slice(&bytes[span.bytes(from.ggml_type, from.columns())]);
                Ok(())
            }
            _ => source
                .read_rows(number, span.rows.clone(), out)
                .map_err(|e| StepError::input(e.to_string())),
        }
    }
}

/// The type to compute with.
fn computable(info: &TensorInfo) -> Result<GgmlType, StepError> {
    info.computable().map_err(|e| StepError::failed(e.to_string()))
}

/// An error whose rows and columns count from the tensor's first.
fn quantize_error(info: &TensorInfo, span: &Span, error: QuantizeError) -> StepError {
    let name = &info.name;
    match error {
        QuantizeError::NotFinite { row, column, value } => StepError::input(format!(
            "tensor {name}: row {}, column {} is {value}; expected finite weights: the input \
            is damaged or its training failed",
            span.rows.start + row,
            span.columns.start + column
        )),
        QuantizeError::OutOfRange { ty, row, largest } => {
            let error = QuantizeError::OutOfRange { ty, row: span.rows.start + row, largest };
            StepError::failed(format!("tensor {name}: {error}"))
        }
        other => StepError::failed(format!("tensor {name}: {other}")),
    }
}

/// Refuses NaN and infinity in a span that is copied.
fn check_finite(info: &TensorInfo, span: &Span, bytes: &[u8]) -> Result<(), StepError> {
    // What nothing here computes with is copied as it is, whatever it may stand for.
    let bad_block = |ty| ggml::first_non_finite_block(ty, bytes);
    let Some(block) = info.ggml_type.computable().and_then(bad_block) else {
        return Ok(());
    };
    let weight = block * info.ggml_type.block_size();
    let row = span.rows.start + weight / span.columns.len();
    let column = span.columns.start + weight % span.columns.len();
    Err(StepError::input(format!(
        "tensor {}: row {row} is not finite from column {column} on; expected finite weights: \
        the input is damaged or its training failed",
        info.name
    )))
}
