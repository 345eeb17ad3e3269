//! Some rows of a product, on one thread.

use std::cell::RefCell;
use std::ops::Range;

use crate::compute::Activations;
use crate::ggml::{Inputs, RowKernel, Scratch};
use crate::simd::Aligned;

use super::{Matrix, Product, float};

/// Tokens from which on unpacking a tile of rows costs less than it saves.
const TILE_TOKENS: usize = 4;
/// Rows that stay in a cache while a few tokens read them.
const FEW_ROWS: usize = 8;

/// In which form weights and activations are multiplied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As 8-bit integers.
    Quantized,
    /// As single-precision floats.
    Floats,
}

impl Form {
    pub fn of(matrix: &Matrix<'_>, exact: bool) -> Self {
        if exact || matrix.kernel().is_none() { Form::Floats } else { Form::Quantized }
    }
}

/// Memory that a thread keeps from one task to the next.
#[derive(Default)]
struct Kept {
    unpacked: Unpacked,
    products: Aligned,
    gates: Aligned,
}

/// Memory for what is unpacked of a matrix.
#[derive(Default)]
struct Unpacked {
    tile: Scratch,
    weights: Aligned,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

impl Product<'_> {
    /// Computes the results of some of the matrix's rows. No two tasks have a row in common.
    pub(super) fn multiply_rows(&self, rows: Range<usize>, exact: bool, activations: &Activations) {
        let tile = match self.matrices().find_map(Matrix::kernel) {
            Some(kernel) if !exact && self.inputs.len() >= TILE_TOKENS => kernel.tile_rows(),
            _ => 1,
        };
        let whole_tiles = rows.start + rows.len() / tile * tile;
        KEPT.with_borrow_mut(|kept| {
            for part in [rows.start..whole_tiles, whole_tiles..rows.end] {
                if !part.is_empty() {
                    self.multiply_part(part, exact, activations, kept);
                }
            }
        });
    }

    /// Computes the results of whole tiles of rows, or of less than one.
    fn multiply_part(
        &self,
        rows: Range<usize>,
        exact: bool,
        activations: &Activations,
        Kept { unpacked, products, gates }: &mut Kept,
    ) {
        let len = rows.len() * self.inputs.len();
        let products = products.room(len);
        self.matrix.multiply(rows.clone(), exact, self.inputs, activations, unpacked, products);
        let Some(gate) = &self.gate else {
            for (token, products) in products.chunks_exact(rows.len()).enumerate() {
                self.put(rows.start, token, products);
            }
            return;
        };
        let gates = gates.room(len);
        gate.matrix.multiply(rows.clone(), exact, self.inputs, activations, unpacked, gates);
        let of_tokens =
            products.chunks_exact_mut(rows.len()).zip(gates.chunks_exact_mut(rows.len()));
        for (token, (products, gates)) in of_tokens.enumerate() {
            if let Some(bias) = gate.bias {
                add(gates, &bias[rows.clone()]);
            }
            if let Some(bias) = self.bias {
                add(products, &bias[rows.clone()]);
            }
            let out = self.results(rows.start, token, rows.len());
            gate.activation.apply(gates, products, out);
        }
    }

    /// Stores products of consecutive rows with one token.
    #[inline(always)]
    fn put(&self, row: usize, token: usize, products: &[f32]) {
        let out = self.results(row, token, products.len());
        match self.bias {
            None => out.copy_from_slice(products),
            Some(bias) => {
                for ((out, product), bias) in out.iter_mut().zip(products).zip(&bias[row..]) {
                    *out = product + bias;
                }
            }
        }
    }

    /// The results of consecutive rows of this task with one token.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "they belong to one task, which asks for them once")]
    fn results(&self, row: usize, token: usize, len: usize) -> &mut [f32] {
        // SAFETY: the elements belong to these rows, and a row belongs to one task.
        unsafe { self.out.slice_mut(token * self.matrix.rows() + row, len) }
    }
}

fn add(products: &mut [f32], bias: &[f32]) {
    for (product, bias) in products.iter_mut().zip(bias) {
        *product += bias;
    }
}

impl Matrix<'_> {
    /// Writes the products of some rows, whole tiles or less than one, with each of the inputs:
    /// `out[input * rows.len() + row]`.
    fn multiply(
        &self,
        rows: Range<usize>,
        exact: bool,
        inputs: &[u32],
        activations: &Activations,
        unpacked: &mut Unpacked,
        out: &mut [f32],
    ) {
        match (Form::of(self, exact), self.kernel()) {
            (Form::Quantized, Some(kernel)) => {
                let (blocks, stride) = (activations.blocks(), activations.stride());
                if inputs.len() >= TILE_TOKENS && rows.len() >= kernel.tile_rows() {
                    let inputs = Inputs { blocks, stride, numbers: inputs };
                    let bytes = self.bytes(rows.clone());
                    kernel.multiply(bytes, rows.len(), inputs, &mut unpacked.tile, out);
                } else {
                    let inputs = Inputs { blocks, stride, numbers: inputs };
                    self.single_rows(rows, &kernel, inputs, out);
                }
            }
            _ => self.float_rows(rows, inputs, activations, &mut unpacked.weights, out),
        }
    }

    fn single_rows(
        &self,
        rows: Range<usize>,
        kernel: &RowKernel,
        inputs: Inputs<'_>,
        out: &mut [f32],
    ) {
        // One token reads the rows once, so they need not stay in a cache.
        let few_rows = if inputs.numbers.len() == 1 { rows.len() } else { FEW_ROWS };
        for first in rows.clone().step_by(few_rows) {
            let few = first..rows.end.min(first + few_rows);
            for (out, &input) in out.chunks_exact_mut(rows.len()).zip(inputs.numbers) {
                let blocks = &inputs.blocks[input as usize * inputs.stride..][..inputs.stride];
                let out = &mut out[first - rows.start..][..few.len()];
                kernel.dot_rows(self.bytes(few.clone()), blocks, out);
            }
        }
    }

    fn float_rows(
        &self,
        rows: Range<usize>,
        inputs: &[u32],
        activations: &Activations,
        unpacked: &mut Aligned,
        out: &mut [f32],
    ) {
        let columns = self.columns();
        for first in rows.clone().step_by(float::ROWS) {
            let few = first..rows.end.min(first + float::ROWS);
            let weights = match self.floats(few.clone()) {
                Some(weights) => weights,
                None => {
                    let weights = unpacked.room(few.len() * columns);
                    self.rows_f32(few, weights);
                    float::FloatRows::F32(weights)
                }
            };
            float::multiply(weights, columns, inputs, activations, |row, token, sum| {
                out[token * rows.len() + first - rows.start + row] = sum;
            });
        }
    }
}
