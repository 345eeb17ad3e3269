//! A matrix as a file stores it.

use std::ops::Range;

use super::float::FloatRows;
use crate::ggml::{self, GgmlType, RowKernel};

/// A matrix of weights as a file stores it.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    ggml_type: GgmlType,
    kernel: Option<RowKernel>,
    columns: usize,
    rows: usize,
    row_bytes: usize,
    bytes: &'a [u8],
}

/// Bytes that are not a matrix of the given type and shape.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    #[error("{columns} columns are no multiple of {ggml_type}'s block of {}", ggml_type.block_size())]
    Columns { ggml_type: GgmlType, columns: usize },
    #[error("expected {expected} bytes ({rows} rows of {columns} {ggml_type}), found {found}")]
    Length { ggml_type: GgmlType, columns: usize, rows: usize, expected: u128, found: usize },
}

impl<'a> Matrix<'a> {
    /// A matrix of `rows` rows of `columns` weights.
    ///
    /// # Errors
    /// If the bytes are not that many, or rows are no whole number of blocks.
    pub fn new(
        ggml_type: GgmlType,
        columns: usize,
        rows: usize,
        bytes: &'a [u8],
    ) -> Result<Self, MatrixError> {
        if columns == 0 || !columns.is_multiple_of(ggml_type.block_size()) {
            return Err(MatrixError::Columns { ggml_type, columns });
        }
        let kernel = RowKernel::new(ggml_type);
        let expected = ((columns / ggml_type.block_size()) as u128)
            .saturating_mul(ggml_type.block_bytes() as u128)
            .saturating_mul(rows as u128);
        if bytes.len() as u128 != expected {
            let found = bytes.len();
            return Err(MatrixError::Length { ggml_type, columns, rows, expected, found });
        }
        let row_bytes = columns / ggml_type.block_size() * ggml_type.block_bytes();
        Ok(Self { ggml_type, kernel, columns, rows, row_bytes, bytes })
    }

    /// Rows, which are the outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, which are the inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How quantized rows are multiplied; floats are not.
    pub(super) fn kernel(&self) -> Option<RowKernel> {
        self.kernel
    }

    /// The rows `range` as a matrix: one expert of many, for example.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self { rows: range.len(), bytes: self.bytes(range), ..*self }
    }

    /// The bytes of the rows `range`.
    pub(super) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        &self.bytes[range.start * self.row_bytes..range.end * self.row_bytes]
    }

    /// Writes row `row` as f32 into `out`, which has `columns` elements.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) {
        self.rows_f32(row..row + 1, out);
    }

    /// Writes the rows `range` as f32 into `out`.
    pub(super) fn rows_f32(&self, range: Range<usize>, out: &mut [f32]) {
        if ggml::dequantize(self.ggml_type, self.bytes(range), out).is_err() {
            unreachable!("`new` found rows of {} to be as long as this", self.ggml_type);
        }
    }

    /// The rows `range` in place, where they are floats, aligned if need be.
    pub(super) fn floats(&self, range: Range<usize>) -> Option<FloatRows<'a>> {
        let bytes = self.bytes(range);
        match self.ggml_type {
            GgmlType::F32 if cfg!(target_endian = "big") => None,
            GgmlType::F32 => bytemuck::try_cast_slice(bytes).ok().map(FloatRows::F32),
            GgmlType::F16 => Some(FloatRows::F16(bytemuck::cast_slice(bytes))),
            GgmlType::BF16 => Some(FloatRows::Bf16(bytemuck::cast_slice(bytes))),
            _ => None,
        }
    }
}
