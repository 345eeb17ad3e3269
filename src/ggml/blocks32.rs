//! Blocks of 32 weights with evenly spaced levels: with one scale, around zero (`q4_0`, `q5_0`), and
//! with a scale and a minimum (`q4_1`, `q5_1`). Knows nothing of how they are packed.

use super::le::F16Le;
use super::row::{BLOCKS as BATCH, Row};
use super::rules::{self, inverse};
use super::search::{
    self, Affine, AffineBatch, AffineSearch, ErrorWeights, Search, SymmetricBatch,
};

/// A block of 32 weights: `(level - CENTER) * d`.
pub(super) trait SymmetricBlock: Sized {
    /// Levels are from 0 to one less than twice this.
    const CENTER: i8;

    /// Packs a block. Inlined always, so that it is compiled for the instructions of `search`.
    fn pack<S: Search>(search: S, d: F16Le, levels: &[u8; 32]) -> Self;
}

/// Quantizes a row.
#[inline(always)]
pub(super) fn quantize_symmetric<S: Search, B: SymmetricBlock>(
    search: S,
    row: Row<'_>,
    blocks: &mut [B],
) {
    if row.importance.is_none() {
        return quantize_symmetric_by_rule(search, row.x, blocks);
    }
    let sigma2 = mean_square(row.x);
    for (x, importance, blocks) in row.batches::<BATCH, 32, _>(blocks) {
        let weights = &weigh_batch(x, importance, sigma2)[..x.len()];
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
fn quantize_symmetric_by_rule<S: Search, B: SymmetricBlock>(
    search: S,
    row: &[f32],
    blocks: &mut [B],
) {
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

/// A block of 32 weights: `level * d + m`.
pub(super) trait AffineBlock: Sized {
    /// The largest level.
    const MAX: i8;

    /// Packs a block. Inlined always, so that it is compiled for the instructions of `search`.
    fn pack<S: Search>(search: S, d: F16Le, m: F16Le, levels: &[u8; 32]) -> Self;
}

/// Quantizes a row.
#[inline(always)]
pub(super) fn quantize_affine<S: Search, B: AffineBlock>(
    search: S,
    row: Row<'_>,
    blocks: &mut [B],
) {
    if row.importance.is_none() {
        return quantize_affine_by_rule(search, row.x, blocks);
    }
    let (affine, sigma2) = (AffineSearch::weighted(B::MAX.into()), mean_square(row.x));
    for (x, importance, blocks) in row.batches::<BATCH, 32, _>(blocks) {
        let weights = &weigh_batch(x, importance, sigma2)[..x.len()];
        let (mut levels, mut fits) = ([[0; 32]; BATCH], [Affine::default(); BATCH]);
        let (levels, fits) = (&mut levels[..x.len()], &mut fits[..x.len()]);
        let weights = ErrorWeights::Given(weights);
        search.run(AffineBatch { search: affine, x, weights, levels, fits });
        for ((levels, fit), block) in levels.iter().zip(&*fits).zip(blocks) {
            *block = B::pack(search, F16Le::new(fit.scale), F16Le::new(-fit.min), levels);
        }
    }
}

#[inline(always)]
fn quantize_affine_by_rule<S: Search, B: AffineBlock>(search: S, row: &[f32], blocks: &mut [B]) {
    let (max, x) = (f32::from(B::MAX), row.as_chunks::<32>().0);
    for (x, blocks) in x.chunks(rules::BATCH).zip(blocks.chunks_mut(rules::BATCH)) {
        let (mins, maxs) = search.ranges(x);
        let (mut scales, mut inverses) = ([0.0; rules::BATCH], [0.0; rules::BATCH]);
        for i in 0..rules::BATCH {
            scales[i] = (maxs[i] - mins[i]) / max;
            inverses[i] = inverse(scales[i]);
        }
        let (ds, ms) = (search.narrow(&scales), search.narrow(&mins));
        for (i, (x, block)) in x.iter().zip(blocks).enumerate() {
            let levels = search.levels(x, mins[i], inverses[i], 0.5, B::MAX);
            *block = B::pack(search, ds[i], ms[i], &levels);
        }
    }
}

/// What blurs the weights of a row: the mean square of the whole row.
#[inline(always)]
fn mean_square(row: &[f32]) -> f32 {
    search::sum_of_squares(row) / row.len() as f32
}

/// The weights of the errors of a batch of blocks of a row whose mean square is `sigma2`.
#[inline(always)]
fn weigh_batch(
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
