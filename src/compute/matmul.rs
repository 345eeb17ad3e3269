//! Products of matrices as files store them with rows of activations.
//!
//! A quantized row is multiplied with quantized activations: as it is where few tokens read it,
//! unpacked in tiles where many do; the numbers are the same. Floats are multiplied as they are, and
//! in exact mode everything else is dequantized to them a few rows at a time.
//!
//! A product may be gated by another one: the two are never in memory as a whole.

mod float;
mod matrix;
mod rows;
#[cfg(test)]
mod tests;

pub use matrix::{Matrix, MatrixError};

use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use super::{Activation, Activations, SharedSlice, ThreadPool};
use rows::Form;

/// Products that are worth handing to a thread.
const TASK_WORK: usize = 1 << 16;
/// Rows of a task are a multiple of this: whole tiles, whatever the instruction set.
const TASK_ROWS: usize = 64;
/// Products of a task of one token at most, if there is enough for all threads: a task's first page
/// is asked for by nobody before it is needed, so tasks are long; and a thread that is done waits for
/// the others' last, so they are not longer.
const TOKEN_WORK: usize = 3 << 18;

/// One matrix to multiply, which of the activation rows with, and where the results go.
pub struct Product<'a> {
    pub matrix: Matrix<'a>,
    /// Added to every result row; one number per matrix row.
    pub bias: Option<&'a [f32]>,
    /// Another matrix of the same shape, whose results gate these.
    pub gate: Option<Gate<'a>>,
    /// The activation rows, by number, in the order of the result rows.
    pub inputs: &'a [u32],
    /// `inputs.len()` rows of `matrix.rows()` results.
    pub out: SharedSlice<'a, f32>,
}

/// The matrix of a gate: the activation of gate and product is the result, with each its bias added.
pub struct Gate<'a> {
    pub matrix: Matrix<'a>,
    /// One number per matrix row.
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
}

/// Computes all the products of one set of activations, spread over the threads together.
///
/// With `exact` every weight is multiplied as f32 with f32 activations; otherwise quantized
/// weights are multiplied with activations of 8 bits, each 32 of them with a scale.
///
/// # Panics
/// If a matrix's columns, a bias, an input's number or an output's length do not fit.
pub fn multiply(
    pool: &ThreadPool,
    exact: bool,
    activations: &mut Activations,
    products: &[Product<'_>],
) {
    let whole = multiply_while(pool, exact, activations, products, &|| true);
    debug_assert!(whole, "nobody said no");
}

/// [`multiply`] that asks `go_on` before each block of rows, a few milliseconds of work: after the first
/// no it computes no other. False if it said no, and then some results are missing.
///
/// # Panics
/// As [`multiply`].
#[must_use]
pub fn multiply_while(
    pool: &ThreadPool,
    exact: bool,
    activations: &mut Activations,
    products: &[Product<'_>],
    go_on: &(dyn Fn() -> bool + Sync),
) -> bool {
    for p in products {
        assert_eq!(p.matrix.columns(), activations.columns(), "columns of weights and activations");
        assert_eq!(p.out.len(), p.inputs.len() * p.matrix.rows(), "results of a product");
        assert!(p.bias.is_none_or(|b| b.len() == p.matrix.rows()), "one bias per row");
        if let Some(gate) = &p.gate {
            let shape = |m: &Matrix<'_>| (m.rows(), m.columns());
            assert_eq!(shape(&gate.matrix), shape(&p.matrix), "rows and columns of a gate");
            assert!(
                gate.bias.is_none_or(|b| b.len() == p.matrix.rows()),
                "one bias per row of a gate"
            );
        }
        if !p.inputs.is_empty() && p.matrices().any(|m| Form::of(m, exact) == Form::Quantized) {
            activations.quantize(pool);
        }
    }
    let activations = &*activations;
    // Of each product the rows of a task, and the number of the task after its last: every task asks,
    // so they are divided once.
    let mut end = 0;
    let tasks: SmallVec<[(usize, usize); 8]> = products
        .iter()
        .map(|p| {
            let step = p.task_rows(pool);
            end += if p.inputs.is_empty() { 0 } else { p.matrix.rows().div_ceil(step) };
            (step, end)
        })
        .collect();
    let stopped = AtomicBool::new(false);
    pool.for_blocks(end, 1, |range| {
        for task in range {
            if stopped.load(Ordering::Relaxed) || !go_on() {
                stopped.store(true, Ordering::Relaxed);
                return;
            }
            let mut first = 0;
            for (p, &(step, end)) in products.iter().zip(&tasks) {
                if task < end {
                    let start = (task - first) * step;
                    let rows = start..p.matrix.rows().min(start + step);
                    p.multiply_rows(rows, exact, activations);
                    break;
                }
                first = end;
            }
        }
    });
    !stopped.into_inner()
}

impl<'a> Product<'a> {
    /// The matrix, and that of the gate.
    fn matrices(&self) -> impl Iterator<Item = &Matrix<'a>> {
        std::iter::once(&self.matrix).chain(self.gate.as_ref().map(|gate| &gate.matrix))
    }

    /// Rows of a task: enough to be worth a hand-over, few enough that every thread gets some.
    fn task_rows(&self, pool: &ThreadPool) -> usize {
        let work = self.matrix.columns() * self.inputs.len() * self.matrices().count();
        let share = self.matrix.rows().div_ceil(2 * pool.threads());
        let most = match self.matrix.kernel() {
            _ if self.inputs.len() == 1 => TOKEN_WORK / work.max(1),
            Some(kernel) => kernel.task_rows(),
            None => TASK_ROWS,
        };
        TASK_WORK.div_ceil(work.max(1)).max(share.min(most)).next_multiple_of(TASK_ROWS)
    }
}
