//! Makes rows of model files in bounded pieces: read where the type stays, else dequantized once and
//! quantized to each type that is wanted. Knows nothing of files.

use std::sync::mpsc::Sender;

use super::matrix_rows;
use super::pass::{Form, Pass};
use super::queue::{Buffers, Part};
use super::span::Span;
use crate::ggml::{self, GgmlType, QuantizeError};
use crate::gguf::{Importance, TensorInfo};
use crate::steps::StepError;

/// Weights that are made at a time; their floats fit into a core's cache.
const PIECE: usize = 1 << 17;

/// A part of a tensor in every type that it is wanted in. Dropped, it gives its buffers back.
pub struct Made {
    pub part: Part,
    /// The types with their bytes.
    pub forms: Vec<(Form, Vec<u8>)>,
    home: Sender<Buffers>,
}

impl Made {
    /// What it is in file `number`, if it is part of that.
    pub fn form_of(&self, number: usize) -> Option<&(Form, Vec<u8>)> {
        self.forms.iter().find(|(form, _)| form.files.contains(&number))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let buffers = self.forms.drain(..).map(|(_, buffer)| buffer).collect();
        // With nobody left to make anything, nobody needs them.
        let _ = self.home.send(buffers);
    }
}

/// Makes parts, one after the other: what a thread keeps from one to the next.
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

    /// Makes `part` in `buffers`.
    ///
    /// # Errors
    /// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if it cannot be read or has weights that are not finite;
    /// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if a type cannot be made of it; [`ErrorClass::Interrupted`](crate::steps::ErrorClass::Interrupted).
    pub fn make(&mut self, part: Part, buffers: Buffers) -> Result<Made, StepError> {
        let mut forms = self.begin(&part, buffers);
        let start = |ty| part.span.bytes(ty, self.pass.from(part.tensor).columns()).start;
        let starts: Vec<usize> = forms.iter().map(|(form, _)| start(form.ggml_type)).collect();
        for piece in part.span.clone().split(PIECE, self.pass.can_cut_rows(part.tensor)) {
            self.pass.ctx().check_cancelled()?;
            let mut widened = false;
            for ((form, buffer), start) in forms.iter_mut().zip(&starts) {
                let range = piece.bytes(form.ggml_type, self.pass.from(part.tensor).columns());
                let out = &mut buffer[range.start - start..range.end - start];
                self.piece(part.tensor, &piece, form, out, &mut widened)?;
            }
        }
        Ok(Made { part, forms, home: self.home.clone() })
    }

    /// The types that the part is wanted in, each with room for its bytes.
    fn begin(&self, part: &Part, buffers: Buffers) -> Vec<(Form, Vec<u8>)> {
        let columns = self.pass.from(part.tensor).columns();
        let mut buffers = buffers.into_iter();
        let room = |form: Form| {
            let mut buffer = buffers.next().unwrap_or_default();
            buffer.resize(part.span.bytes(form.ggml_type, columns).len(), 0);
            (form, buffer)
        };
        self.pass.forms(part.tensor).into_iter().map(room).collect()
    }

    /// Makes one piece in one type; `widened` says whether the floats of the piece are there.
    fn piece(
        &mut self,
        tensor: usize,
        piece: &Span,
        form: &Form,
        out: &mut [u8],
        widened: &mut bool,
    ) -> Result<(), StepError> {
        let (from, ty) = (self.pass.from(tensor), form.ggml_type);
        if ty == from.ggml_type {
            self.read(tensor, piece, out)?;
            return check_finite(from, piece, out);
        }
        let ty = computable(&from.in_type(ty))?;
        if !*widened {
            self.widen(tensor, piece)?;
            *widened = true;
        }
        match self.pass.importance(tensor, form) {
            Some(importance) => self.quantize_by_matrix(ty, from, importance, piece, out),
            None => ggml::quantize(ty, &self.floats, piece.columns.len(), None, out)
                .map_err(|e| quantize_error(from, piece, e)),
        }
    }

    /// Quantizes the floats, those of one matrix at a time, because each expert has an importance
    /// of its own.
    fn quantize_by_matrix(
        &mut self,
        ty: GgmlType,
        info: &TensorInfo,
        importance: Importance<'_>,
        piece: &Span,
        out: &mut [u8],
    ) -> Result<(), StepError> {
        let (columns, row_bytes) = (info.columns(), out.len() / piece.rows.len());
        let mut row = piece.rows.start;
        while row < piece.rows.end {
            let matrix = row / matrix_rows(info);
            let next = piece.rows.end.min((matrix + 1) * matrix_rows(info));
            importance.read(matrix, columns, &mut self.importance);
            let at = row - piece.rows.start..next - piece.rows.start;
            let floats = &self.floats[at.start * columns..at.end * columns];
            let out = &mut out[at.start * row_bytes..at.end * row_bytes];
            let rows = Span { rows: row..next, columns: piece.columns.clone() };
            ggml::quantize(ty, floats, columns, Some(&self.importance), out)
                .map_err(|e| quantize_error(info, &rows, e))?;
            row = next;
        }
        Ok(())
    }

    /// Fills the floats with a piece's.
    fn widen(&mut self, tensor: usize, piece: &Span) -> Result<(), StepError> {
        let from = self.pass.from(tensor);
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(piece.bytes(from.ggml_type, from.columns()).len(), 0);
        self.read(tensor, piece, &mut stored)?;
        self.floats.resize(piece.weights(), 0.0);
        ggml::dequantize(computable(from)?, &stored, &mut self.floats)
            .map_err(|e| StepError::failed(format!("tensor {}: {e}", from.name)))?;
        self.stored = stored;
        Ok(())
    }

    /// Fills `out` with the bytes of a piece as the source has them.
    fn read(&self, tensor: usize, piece: &Span, out: &mut [u8]) -> Result<(), StepError> {
        let (source, number) = (self.pass.source(), self.pass.source_tensor(tensor));
        let from = self.pass.from(tensor);
        match source.bytes(number) {
            // A source gives whole rows only, but for those that are in place.
            Some(bytes) if piece.columns.len() < from.columns() => {
                out.copy_from_slice(&bytes[piece.bytes(from.ggml_type, from.columns())]);
                Ok(())
            }
            _ => source
                .read_rows(number, piece.rows.clone(), out)
                .map_err(|e| StepError::input(e.to_string())),
        }
    }
}

/// The type to compute with.
fn computable(info: &TensorInfo) -> Result<GgmlType, StepError> {
    info.computable().map_err(|e| StepError::failed(e.to_string()))
}

/// An error whose rows and columns count from the tensor's first.
fn quantize_error(info: &TensorInfo, piece: &Span, error: QuantizeError) -> StepError {
    let name = &info.name;
    match error {
        QuantizeError::NotFinite { row, column, value } => StepError::input(format!(
            "tensor {name}: row {}, column {} is {value}; expected finite weights: the input \
                 is damaged or its training failed",
            piece.rows.start + row,
            piece.columns.start + column
        )),
        QuantizeError::OutOfRange { ty, row, largest } => {
            let error = QuantizeError::OutOfRange { ty, row: piece.rows.start + row, largest };
            StepError::failed(format!("tensor {name}: {error}"))
        }
        other => StepError::failed(format!("tensor {name}: {other}")),
    }
}

/// Refuses NaN and infinity in a piece that is copied.
fn check_finite(info: &TensorInfo, piece: &Span, bytes: &[u8]) -> Result<(), StepError> {
    // What nothing here computes with is copied as it is, whatever it may stand for.
    let bad_block = |ty| ggml::first_non_finite_block(ty, bytes);
    let Some(block) = info.ggml_type.computable().and_then(bad_block) else {
        return Ok(());
    };
    let weight = block * info.ggml_type.block_size();
    let row = piece.rows.start + weight / piece.columns.len();
    let column = piece.columns.start + weight % piece.columns.len();
    Err(StepError::input(format!(
        "tensor {}: row {row} is not finite from column {column} on; expected finite weights: \
             the input is damaged or its training failed",
        info.name
    )))
}
