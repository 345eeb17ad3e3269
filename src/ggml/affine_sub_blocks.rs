//! The search for super-blocks whose sub-blocks have a scale and a minimum each, themselves levels of
//! two scales of the super-block: `q2_K`, `q4_K` and `q5_K`. Knows nothing of how they are packed.

use super::arrays::{map, sub_blocks, sub_blocks_mut};
use super::le::F16Le;
use super::row::{Row, SUPER_BLOCKS as BATCH};
use super::search::{self, Affine, AffineBatch, AffineSearch, ErrorWeights, PositiveBatch, Search};
use crate::simd::rounding::nearest_int;

/// How the `COUNT` sub-blocks of `N` weights of a super-block are searched.
#[derive(Clone, Copy)]
pub(super) struct AffineSubBlocks<const N: usize, const COUNT: usize> {
    /// The search where no importance is known.
    pub search: AffineSearch,
    /// How much each error counts there.
    pub weights: ErrorWeights<'static, N>,
    /// The largest level of a scale or minimum.
    pub scale_max: i32,
    /// Levels of scales and minimums are cut to this where no importance is known. A scale below
    /// zero, as rounding makes them, has a level that wrapped around.
    pub scale_cap: u8,
    /// The same where importance is known.
    pub weighted_scale_cap: u8,
    /// How many times its mean square blurs a super-block's importance.
    pub blur: f32,
}

/// The scales and minimums of a super-block: `d` and `dmin` times their levels.
#[derive(Clone, Copy)]
pub(super) struct Scales<const COUNT: usize> {
    pub d: f32,
    pub dmin: f32,
    pub scales: [u8; COUNT],
    pub mins: [u8; COUNT],
}

impl<const COUNT: usize> Scales<COUNT> {
    const ZERO: Self = Self { d: 0.0, dmin: 0.0, scales: [0; COUNT], mins: [0; COUNT] };
}

impl<const N: usize, const COUNT: usize> AffineSubBlocks<N, COUNT> {
    /// Quantizes the super-blocks of a row. `pack` makes a block of its weights, scales and levels.
    #[inline(always)]
    pub(super) fn quantize<S: Search, B>(
        &self,
        search: S,
        row: Row<'_>,
        blocks: &mut [B],
        pack: impl Fn(&[f32; 256], &Scales<COUNT>, [u8; 256]) -> B,
    ) {
        for (x, importance, blocks) in row.batches::<BATCH, 256, _>(blocks) {
            let mut levels = [[0; 256]; BATCH];
            let levels = &mut levels[..x.len()];
            let scales = match importance {
                None => self.search(search, x, levels),
                Some(importance) => self.search_weighted(search, x, importance, levels),
            };
            for (((x, levels), scales), block) in x.iter().zip(levels).zip(&scales).zip(blocks) {
                *block = pack(x, scales, *levels);
            }
        }
    }

    #[inline(always)]
    fn search<S: Search>(
        &self,
        search: S,
        x: &[[f32; 256]],
        levels: &mut [[u8; 256]],
    ) -> [Scales<COUNT>; BATCH] {
        let mut fits = [[Affine::default(); COUNT]; BATCH];
        search.run(AffineBatch {
            search: self.search,
            x: sub_blocks(x),
            weights: self.weights,
            levels: sub_blocks_mut(levels),
            fits: fits[..x.len()].as_flattened_mut(),
        });
        let largest = self.scale_max as f32;
        let mut found = [Scales::ZERO; BATCH];
        for (found, fits) in found.iter_mut().zip(fits) {
            let (mut max_scale, mut max_min) = (0.0, 0.0);
            for fit in fits {
                max_scale = if fit.scale > max_scale { fit.scale } else { max_scale };
                max_min = if fit.min > max_min { fit.min } else { max_min };
            }
            let inverse = |top: f32| if top > 0.0 { largest / top } else { 0.0 };
            let inverses = (inverse(max_scale), inverse(max_min));
            let level = |inverse: f32, v: f32| (nearest_int(inverse * v) as u8).min(self.scale_cap);
            *found = Scales {
                d: max_scale / largest,
                dmin: max_min / largest,
                scales: map(fits, |f| level(inverses.0, f.scale)),
                mins: map(fits, |f| level(inverses.1, f.min)),
            };
        }
        found
    }

    #[inline(always)]
    fn search_weighted<S: Search>(
        &self,
        search: S,
        x: &[[f32; 256]],
        importance: &[[f32; 256]],
        levels: &mut [[u8; 256]],
    ) -> [Scales<COUNT>; BATCH] {
        let mut weights = [[0.0; 256]; BATCH];
        let weights = &mut weights[..x.len()];
        search::weigh_blocks(x, importance, self.blur, weights);
        let mut fits = [[Affine::default(); COUNT]; BATCH];
        search.run(AffineBatch {
            search: AffineSearch::weighted(self.search.max),
            x: sub_blocks(x),
            weights: ErrorWeights::Given(sub_blocks::<N, _>(weights)),
            levels: sub_blocks_mut(levels),
            fits: fits[..x.len()].as_flattened_mut(),
        });

        let (mut values, mut sums) = ([[[0.0; COUNT]; BATCH]; 2], [[0.0; COUNT]; BATCH]);
        for (i, fits) in fits.iter().enumerate() {
            values[0][i] = map(*fits, |fit| fit.scale);
            values[1][i] = map(*fits, |fit| fit.min);
            sums[i] = map(*fits, |fit| fit.weight);
        }
        let (mut levels, mut d) = ([[[0; COUNT]; BATCH]; 2], [[0.0; BATCH]; 2]);
        // A loop, so that the search is there once. Tried a closure for scales and minimums: called
        // twice, it was not compiled for the set's instructions.
        for ((values, levels), d) in values.iter().zip(&mut levels).zip(&mut d) {
            search.run(PositiveBatch {
                x: &values[..x.len()],
                max: self.scale_max,
                weights: &sums[..x.len()],
                levels: &mut levels[..x.len()],
                scales: &mut d[..x.len()],
            });
        }
        let mut found = [Scales::ZERO; BATCH];
        for (i, found) in found.iter_mut().enumerate() {
            *found = Scales {
                d: d[0][i],
                dmin: d[1][i],
                scales: map(levels[0][i], |level| level.min(self.weighted_scale_cap)),
                mins: map(levels[1][i], |level| level.min(self.weighted_scale_cap)),
            };
        }
        found
    }

    /// Rounds the weights once more, to scales and minimums as they are stored.
    #[inline(always)]
    pub(super) fn requantize(
        &self,
        x: &[f32; 256],
        (d, scales): (F16Le, [u8; COUNT]),
        (dmin, mins): (F16Le, [u8; COUNT]),
        levels: &mut [u8; 256],
    ) {
        let sub_blocks = x.as_chunks::<N>().0.iter().zip(levels.as_chunks_mut::<N>().0);
        for (j, (x, levels)) in sub_blocks.enumerate() {
            let scale = d.get() * f32::from(scales[j]);
            if scale == 0.0 {
                continue;
            }
            let min = dmin.get() * f32::from(mins[j]);
            for (level, v) in levels.iter_mut().zip(x) {
                *level = nearest_int((v + min) / scale).clamp(0, self.search.max) as u8;
            }
        }
    }
}
