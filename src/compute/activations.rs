//! Rows of activations, in f32 and in the quantized forms that rows of weights are multiplied with.

use crate::ggml::Activation;

use super::ThreadPool;

/// Activation rows of one length, each quantized at most once however many matrices read it.
#[derive(Default)]
pub struct Activations {
    columns: usize,
    values: Vec<f32>,
    /// The forms made since the last [`Activations::reset`], and buffers to make more in.
    quantized: Vec<(Activation, Vec<u8>)>,
    ready: usize,
}

impl Activations {
    /// Makes room for `rows` rows of `columns` and returns them, to be filled. What was in them is
    /// unspecified; quantized forms of it are forgotten.
    pub fn reset(&mut self, rows: usize, columns: usize) -> &mut [f32] {
        self.columns = columns;
        self.ready = 0;
        self.values.resize(rows * columns, 0.0);
        &mut self.values
    }

    /// Elements in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// One row in f32.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// Quantizes all rows to `form`, unless that has been done.
    pub(super) fn prepare(&mut self, form: Activation, pool: &ThreadPool) {
        if form == Activation::F32 || self.quantized[..self.ready].iter().any(|(f, _)| *f == form) {
            return;
        }
        let (columns, row_bytes) = (self.columns, form.row_bytes(self.columns));
        let rows = self.rows();
        if self.ready == self.quantized.len() {
            self.quantized.push((form, Vec::new()));
        }
        let (slot, bytes) = &mut self.quantized[self.ready];
        self.ready += 1;
        *slot = form;
        bytes.resize(rows * row_bytes, 0);
        let values = &self.values;
        let block = (16384 / columns.max(1)).max(1);
        pool.for_rows(bytes, row_bytes, block, |row, out| {
            form.quantize(&values[row * columns..][..columns], out);
        });
    }

    /// All rows in `form`, once it was prepared; in f32 the answer is empty.
    pub(super) fn quantized(&self, form: Activation) -> &[u8] {
        let mut ready = self.quantized[..self.ready].iter();
        ready.find(|(f, _)| *f == form).map_or(&[], |(_, bytes)| bytes)
    }
}
