//! Some rows of a product, on one thread.

use std::cell::RefCell;
use std::ops::Range;

use crate::compute::Activations;
use crate::ggml::{Inputs, RowKernel, Scratch};

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

/// What a thread keeps from one task to the next.
#[derive(Default)]
struct Kept {
    tile: Scratch,
    products: Vec<f32>,
    weights: Vec<f32>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Room for `len` numbers, whatever they are: it never gets shorter, as what it would grow by has to
/// be cleared.
fn room(kept: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if kept.len() < len {
        kept.resize(len, 0.0);
    }
    &mut kept[..len]
}

impl Product<'_> {
    /// Computes the results of some of the matrix's rows. No two tasks have a row in common.
    pub(super) fn multiply_rows(&self, rows: Range<usize>, form: Form, activations: &Activations) {
        KEPT.with_borrow_mut(|kept| match (form, self.matrix.kernel()) {
            (Form::Quantized, Some(kernel)) => {
                let tile = kernel.tile_rows();
                let mut rest = rows.clone();
                if self.inputs.len() >= TILE_TOKENS {
                    rest.start += rest.len() / tile * tile;
                    self.tiles(rows.start..rest.start, &kernel, activations, kept);
                }
                self.single_rows(rest, &kernel, activations, &mut kept.products);
            }
            _ => self.float_rows(rows, activations, &mut kept.weights),
        });
    }

    fn tiles(
        &self,
        rows: Range<usize>,
        kernel: &RowKernel,
        activations: &Activations,
        kept: &mut Kept,
    ) {
        if rows.is_empty() {
            return;
        }
        let (runs, stride) = (activations.runs(), activations.stride());
        let inputs = Inputs { runs, stride, numbers: self.inputs };
        let products = room(&mut kept.products, rows.len() * self.inputs.len());
        let bytes = self.matrix.bytes(rows.clone());
        kernel.multiply(bytes, rows.len(), inputs, &mut kept.tile, products);
        for (token, products) in products.chunks_exact(rows.len()).enumerate() {
            self.put(rows.start, token, products);
        }
    }

    fn single_rows(
        &self,
        rows: Range<usize>,
        kernel: &RowKernel,
        activations: &Activations,
        products: &mut Vec<f32>,
    ) {
        let stride = activations.stride();
        // One token reads the rows once, so they need not stay in a cache.
        let few_rows = if self.inputs.len() == 1 { rows.len() } else { FEW_ROWS };
        let mut start = rows.start;
        while start < rows.end {
            let few = start..rows.end.min(start + few_rows);
            let products = room(products, few.len());
            for (token, &input) in self.inputs.iter().enumerate() {
                let runs = &activations.runs()[input as usize * stride..][..stride];
                kernel.dot_rows(self.matrix.bytes(few.clone()), runs, products);
                self.put(few.start, token, products);
            }
            start = few.end;
        }
    }

    fn float_rows(&self, rows: Range<usize>, activations: &Activations, scratch: &mut Vec<f32>) {
        let columns = self.matrix.columns();
        let mut start = rows.start;
        while start < rows.end {
            let few = start..rows.end.min(start + float::ROWS);
            let weights = match self.matrix.floats(few.clone()) {
                Some(weights) => weights,
                None => {
                    let weights = room(scratch, few.len() * columns);
                    self.matrix.rows_f32(few.clone(), weights);
                    float::Rows::F32(weights)
                }
            };
            float::multiply(weights, columns, self.inputs, activations, |row, token, sum| {
                self.put(few.start + row, token, &[sum]);
            });
            start = few.end;
        }
    }

    /// Stores products of consecutive rows with one token.
    #[inline(always)]
    fn put(&self, row: usize, token: usize, products: &[f32]) {
        // SAFETY: the elements belong to these rows, and a row belongs to one task.
        let out = unsafe { self.out.slice_mut(token * self.matrix.rows() + row, products.len()) };
        match self.bias {
            None => out.copy_from_slice(products),
            Some(bias) => {
                for ((out, product), bias) in out.iter_mut().zip(products).zip(&bias[row..]) {
                    *out = product + bias;
                }
            }
        }
    }
}
