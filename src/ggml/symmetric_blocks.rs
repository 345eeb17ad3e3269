//! Blocks of 32 weights with one scale and levels around zero: `q4_0` and `q5_0`. Knows nothing of
//! how they are packed.

use super::batches::{BLOCKS as BATCH, batches};
use super::blocks32::{mean_square, weigh_run};
use super::le::F16Le;
use super::rules::{self, inverse};
use super::search::{Search, SymmetricBatch};

/// A block of 32 weights: `(level - CENTER) * d`.
pub(super) trait SymmetricBlock: Sized {
    /// Levels are from 0 to one less than twice this.
    const CENTER: i8;

    /// Packs a block. Inlined always, so that it is compiled for the instructions of `search`.
    fn pack<S: Search>(search: S, d: F16Le, levels: &[u8; 32]) -> Self;
}

/// Quantizes a row, `importance` with one entry per weight.
#[inline(always)]
pub(super) fn quantize<S: Search, B: SymmetricBlock>(
    search: S,
    row: &[f32],
    importance: Option<&[f32]>,
    blocks: &mut [B],
) {
    let Some(importance) = importance else {
        return quantize_plain(search, row, blocks);
    };
    let sigma2 = mean_square(row);
    for (x, importance, blocks) in batches::<BATCH, 32, _>(row, Some(importance), blocks) {
        let weights = &weigh_run(x, importance, sigma2)[..x.len()];
        let (mut levels, mut scales) = ([[0; 32]; BATCH], [0.0; BATCH]);
        let (levels, scales) = (&mut levels[..x.len()], &mut scales[..x.len()]);
        let (max, weights) = (i32::from(B::CENTER), Some(weights));
        search.run(SymmetricBatch { x, max, weights, levels, scales });
        for ((levels, &d), block) in levels.iter().zip(&*scales).zip(blocks) {
            *block = B::pack(search, F16Le::new(d), levels);
        }
    }
}

#[inline(always)]
fn quantize_plain<S: Search, B: SymmetricBlock>(search: S, row: &[f32], blocks: &mut [B]) {
    let (center, x) = (f32::from(B::CENTER), row.as_chunks::<32>().0);
    for (x, blocks) in x.chunks(rules::BATCH).zip(blocks.chunks_mut(rules::BATCH)) {
        let scales = search.largest(x).map(|v| v / -center);
        let scales = scales.map(inverse).into_iter().zip(search.narrow(&scales));
        for ((x, block), (inverse, d)) in x.iter().zip(blocks).zip(scales) {
            let levels = search.levels(x, 0.0, inverse, center + 0.5, 2 * B::CENTER - 1);
            *block = B::pack(search, d, &levels);
        }
    }
}
