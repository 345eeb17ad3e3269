//! Blocks of 32 weights with one scale and one minimum: `q4_1` and `q5_1`. Knows nothing of how they
//! are packed.

use super::batches::{BLOCKS as BATCH, batches};
use super::blocks32::{mean_square, weigh_run};
use super::le::F16Le;
use super::rules::{self, inverse};
use super::search::{Affine, AffineBatch, AffineSearch, Search, Weights};

/// A block of 32 weights: `level * d + m`.
pub(super) trait AffineBlock: Sized {
    /// The largest level.
    const MAX: i8;

    /// Packs a block. Inlined always, so that it is compiled for the instructions of `search`.
    fn pack<S: Search>(search: S, d: F16Le, m: F16Le, levels: &[u8; 32]) -> Self;
}

/// Quantizes a row, `importance` with one entry per weight.
#[inline(always)]
pub(super) fn quantize<S: Search, B: AffineBlock>(
    search: S,
    row: &[f32],
    importance: Option<&[f32]>,
    blocks: &mut [B],
) {
    let Some(importance) = importance else {
        return quantize_plain(search, row, blocks);
    };
    let (affine, sigma2) = (AffineSearch::weighted(B::MAX.into()), mean_square(row));
    for (x, importance, blocks) in batches::<BATCH, 32, _>(row, Some(importance), blocks) {
        let weights = &weigh_run(x, importance, sigma2)[..x.len()];
        let (mut levels, mut fits) = ([[0; 32]; BATCH], [Affine::default(); BATCH]);
        let (levels, fits) = (&mut levels[..x.len()], &mut fits[..x.len()]);
        let weights = Weights::Given(weights);
        search.run(AffineBatch { search: affine, x, weights, levels, fits });
        for ((levels, fit), block) in levels.iter().zip(&*fits).zip(blocks) {
            *block = B::pack(search, F16Le::new(fit.scale), F16Le::new(-fit.min), levels);
        }
    }
}

#[inline(always)]
fn quantize_plain<S: Search, B: AffineBlock>(search: S, row: &[f32], blocks: &mut [B]) {
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
