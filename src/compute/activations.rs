//! Rows of activations, in f32 and as the blocks of integers that quantized weights are multiplied
//! with.

use crate::ggml::ActivationBlock;
use crate::simd::Aligned;

use super::{SharedSlice, ThreadPool};

/// Activations worth handing to a thread.
const TASK_ELEMENTS: usize = 16384;

/// Activation rows of one length, quantized at most once however many matrices read them.
#[derive(Default)]
pub struct Activations {
    columns: usize,
    rows: usize,
    values: Aligned,
    blocks: Vec<ActivationBlock>,
    quantized: bool,
}

impl Activations {
    /// Makes room for `rows` rows of `columns` and returns them, to be filled. What was in them is
    /// unspecified; their quantized form is forgotten.
    pub fn reset(&mut self, rows: usize, columns: usize) -> &mut [f32] {
        (self.rows, self.columns) = (rows, columns);
        self.quantized = false;
        self.values.room(rows * columns)
    }

    /// Elements in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One row in f32.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values.first::<f32>(self.rows * self.columns)[row * self.columns..][..self.columns]
    }

    /// Quantizes all rows, unless that has been done.
    pub(super) fn quantize(&mut self, pool: &ThreadPool) {
        if self.quantized {
            return;
        }
        self.quantized = true;
        let (columns, rows, stride) = (self.columns, self.rows, self.stride());
        self.blocks.resize(rows * stride, ActivationBlock::ZERO);
        let (values, blocks) =
            (self.values.first::<f32>(rows * columns), SharedSlice::new(&mut self.blocks));
        pool.for_blocks(rows, (TASK_ELEMENTS / columns.max(1)).max(1), |rows| {
            for row in rows {
                // SAFETY: the blocks belong to `row`, and a row belongs to one block.
                let blocks = unsafe { blocks.slice_mut(row * stride, stride) };
                ActivationBlock::quantize(&values[row * columns..][..columns], blocks);
            }
        });
    }

    /// Blocks of a row.
    pub(super) fn stride(&self) -> usize {
        ActivationBlock::count(self.columns)
    }

    /// The quantized form of all rows.
    pub(super) fn blocks(&self) -> &[ActivationBlock] {
        debug_assert!(self.quantized, "activations are quantized before they are multiplied");
        &self.blocks
    }
}
