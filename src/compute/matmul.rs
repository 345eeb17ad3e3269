//! Products of quantized matrices with rows of activations.
//!
//! A weight row is never unpacked beyond scratch of a few rows: either it is dotted as it is with
//! quantized activations, or (float types, and everything in exact mode) it is dequantized into a
//! thread's scratch and multiplied in f32.

mod float;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::ggml::{self, Activation, GgmlType, Kernel};

use super::{Activations, SharedSlice, ThreadPool};

/// Rows dequantized at a time.
const TILE_ROWS: usize = 4;
/// Multiplications that are worth handing to a thread.
const TASK_WORK: usize = 1 << 16;

/// A matrix of weights as a file stores it.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    ggml_type: GgmlType,
    kernel: Kernel,
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
        let kernel = Kernel::new(ggml_type);
        let expected = (columns / ggml_type.block_size()) as u128
            * ggml_type.block_bytes() as u128
            * rows as u128;
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

    /// The rows `range` as a matrix: one expert of many, for example.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let bytes = &self.bytes[range.start * self.row_bytes..range.end * self.row_bytes];
        Self { rows: range.len(), bytes, ..*self }
    }

    /// Writes row `row` as f32 into `out`, which has `columns` elements.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) {
        let bytes = &self.bytes[row * self.row_bytes..][..self.row_bytes];
        if ggml::dequantize(self.ggml_type, bytes, out).is_err() {
            unreachable!("`new` found rows of {} to be as long as this", self.ggml_type);
        }
    }

    fn activation(&self, exact: bool) -> Activation {
        if exact { Activation::F32 } else { self.kernel.activation() }
    }
}

/// One matrix to multiply, which of the activation rows with, and where the results go.
pub struct Product<'a> {
    pub matrix: Matrix<'a>,
    /// Added to every result row; one number per matrix row.
    pub bias: Option<&'a [f32]>,
    /// The activation rows, by number, in the order of the result rows.
    pub inputs: &'a [u32],
    /// `inputs.len()` rows of `matrix.rows()` results.
    pub out: &'a mut [f32],
}

/// Computes all the products of one set of activations, spread over the threads together.
///
/// With `exact` every weight is multiplied as f32 with f32 activations; otherwise activations are
/// quantized to the form that ggml pairs with the weight's type.
///
/// # Panics
/// If a matrix's columns, a bias, an input's number or an output's length do not fit.
pub fn multiply(
    pool: &ThreadPool,
    exact: bool,
    activations: &mut Activations,
    products: &mut [Product<'_>],
) {
    for p in products.iter() {
        assert_eq!(p.matrix.columns, activations.columns(), "columns of weights and activations");
        assert_eq!(p.out.len(), p.inputs.len() * p.matrix.rows, "results of a product");
        assert!(p.bias.is_none_or(|b| b.len() == p.matrix.rows), "one bias per row");
        if !p.inputs.is_empty() {
            activations.prepare(p.matrix.activation(exact), pool);
        }
    }
    let activations = &*activations;
    let mut tasks = Vec::new();
    let mut jobs = Vec::with_capacity(products.len());
    for (j, p) in products.iter_mut().enumerate() {
        let rows = p.matrix.rows;
        // Wide enough to be worth a hand-over, narrow enough that every thread gets some.
        let work = p.matrix.columns * p.inputs.len();
        let share = rows.div_ceil(2 * pool.threads());
        let block = TASK_WORK.div_ceil(work.max(1)).max(share.min(64)).next_multiple_of(TILE_ROWS);
        if !p.inputs.is_empty() {
            tasks.extend((0..rows).step_by(block).map(|r| (j, r..rows.min(r + block))));
        }
        let form = p.matrix.activation(exact);
        jobs.push(Job {
            matrix: p.matrix,
            bias: p.bias,
            inputs: p.inputs,
            form,
            quantized: activations.quantized(form),
            out: SharedSlice::new(p.out),
        });
    }
    pool.for_blocks(tasks.len(), 1, |range| {
        for (j, rows) in &tasks[range] {
            jobs[*j].rows(rows.clone(), activations);
        }
    });
}

/// A product as its threads see it.
struct Job<'a> {
    matrix: Matrix<'a>,
    bias: Option<&'a [f32]>,
    inputs: &'a [u32],
    form: Activation,
    /// All activation rows in `form`.
    quantized: &'a [u8],
    out: SharedSlice<'a, f32>,
}

impl Job<'_> {
    /// Computes the results of some of the matrix's rows. No two tasks have a row in common.
    fn rows(&self, rows: Range<usize>, activations: &Activations) {
        if self.form != Activation::F32 {
            return self.quantized_rows(rows);
        }
        let columns = self.matrix.columns;
        let mut scratch = vec![0.0; TILE_ROWS * columns];
        let mut start = rows.start;
        while start < rows.end {
            let count = TILE_ROWS.min(rows.end - start);
            for (i, row) in scratch.chunks_exact_mut(columns).take(count).enumerate() {
                self.matrix.row_f32(start + i, row);
            }
            float::multiply(
                &scratch[..count * columns],
                columns,
                self.inputs,
                activations,
                |i, t, sum| {
                    self.put(start + i, t, sum);
                },
            );
            start += count;
        }
    }

    fn quantized_rows(&self, rows: Range<usize>) {
        let act_bytes = self.form.row_bytes(self.matrix.columns);
        for row in rows {
            let weights =
                &self.matrix.bytes[row * self.matrix.row_bytes..][..self.matrix.row_bytes];
            for (t, &input) in self.inputs.iter().enumerate() {
                let act = &self.quantized[input as usize * act_bytes..][..act_bytes];
                self.put(row, t, self.matrix.kernel.dot(weights, act));
            }
        }
    }

    #[inline(always)]
    fn put(&self, row: usize, token: usize, sum: f32) {
        let bias = self.bias.map_or(0.0, |b| b[row]);
        // SAFETY: the element belongs to `row`, and a row belongs to one task.
        unsafe { self.out.slice_mut(token * self.matrix.rows + row, 1)[0] = sum + bias };
    }
}
