//! Rows of blocks of 32 where importance is known: the weights of the errors. Knows nothing of how
//! blocks are searched and packed.

use super::batches::BLOCKS as BATCH;
use super::search;

/// What blurs the weights of a row: the mean square of the whole row.
#[inline(always)]
pub(super) fn mean_square(row: &[f32]) -> f32 {
    search::sum_of_squares(row) / row.len() as f32
}

/// The weights of the errors of a run of blocks of a row whose mean square is `sigma2`.
#[inline(always)]
pub(super) fn weigh_run(
    x: &[[f32; 32]],
    importance: Option<&[[f32; 32]]>,
    sigma2: f32,
) -> [[f32; 32]; BATCH] {
    let mut weights = [[0.0; 32]; BATCH];
    let importance = importance.into_iter().flatten();
    for ((weights, x), importance) in weights.iter_mut().zip(x).zip(importance) {
        *weights = search::weigh(x, importance, sigma2);
    }
    weights
}
