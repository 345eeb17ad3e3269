//! Rows of blocks of 32 where importance is known: the weights of the errors, over runs of blocks
//! that are searched together. Knows nothing of how blocks are packed.

use super::search;

/// Blocks that are searched together; what is kept of them stays in the nearest cache.
pub(super) const RUN: usize = 64;

/// Calls `each` for runs of at most [`RUN`] blocks of a row with their values, the weights of
/// their errors and their blocks.
///
/// The weights are blurred by the mean square of the whole row.
#[inline(always)]
pub(super) fn for_weighted_runs<B>(
    row: &[f32],
    importance: &[f32],
    blocks: &mut [B],
    mut each: impl FnMut(&[[f32; 32]], &[[f32; 32]], &mut [B]),
) {
    let sigma2 = search::sum_of_squares(row) / row.len() as f32;
    let x = row.as_chunks::<32>().0.chunks(RUN);
    let importance = importance.as_chunks::<32>().0.chunks(RUN);
    for ((x, importance), blocks) in x.zip(importance).zip(blocks.chunks_mut(RUN)) {
        let mut weights = [[0.0; 32]; RUN];
        for ((weights, x), importance) in weights.iter_mut().zip(x).zip(importance) {
            *weights = search::weigh(x, importance, sigma2);
        }
        each(x, &weights[..x.len()], blocks);
    }
}
