//! The search for super-blocks whose weights are magnitudes from a codebook and signs: the `iq2` and
//! `iq3` types. Knows nothing of how they are packed.

use super::grid::Grid;
use super::row::Row;
use super::search::lattice::{self, Fit, Lattice, LatticeBatch, Start};
use super::search::{self, PositiveBatch, Search};

/// Super-blocks that are searched together: enough sub-blocks for all lanes of the widest vectors.
const BATCH: usize = 2;

/// How the `COUNT` sub-blocks of `W` weights of a super-block are searched: `CELLS` cells of `N`, with
/// `BYTES` bytes of signs.
#[derive(Clone, Copy)]
pub(super) struct LatticeSubBlocks<
    const W: usize,
    const COUNT: usize,
    const N: usize,
    const CELLS: usize,
    const BYTES: usize,
> {
    pub search: Lattice,
    /// Whether every eight weights have an even number of minus signs.
    pub even_signs: bool,
    /// Whether the search starts from a fit of levels that are even and may be anything, rather
    /// than from the largest magnitude.
    pub fit_first: bool,
    /// Sub-blocks whose largest magnitude is below this are taken for zero.
    pub epsilon: f32,
    /// How many times its mean square blurs a super-block's importance.
    pub blur: f32,
    /// How much the error of a weight counts where no importance is known, by the weight and the
    /// blurring mean square.
    pub weight: fn(f32, f32) -> f32,
}

/// A sub-block that is not zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubBlock<const CELLS: usize, const BYTES: usize> {
    /// Not negative.
    pub scale: f32,
    pub points: [u16; CELLS],
    pub signs: [u8; BYTES],
}

/// The scale of a super-block and the levels of its sub-blocks' scales, of four bits; `None` where all
/// sub-blocks are zero. See [`lattice::odd_scales`].
pub(super) fn scales<const COUNT: usize, const CELLS: usize, const BYTES: usize>(
    sub_blocks: &[Option<SubBlock<CELLS, BYTES>>; COUNT],
) -> Option<(f32, [u8; COUNT])> {
    lattice::odd_scales(&sub_blocks.map(|found| found.map_or(0.0, |found| found.scale)), 15)
}

impl<const W: usize, const COUNT: usize, const N: usize, const CELLS: usize, const BYTES: usize>
    LatticeSubBlocks<W, COUNT, N, CELLS, BYTES>
{
    /// Writes the weights of a super-block: `sub_block` gives the scale and the signed values of
    /// sub-block `j`.
    #[inline(always)]
    pub(super) fn dequantize(&self, out: &mut [f32], sub_block: impl Fn(usize) -> (f32, [i8; W])) {
        for (j, out) in out.chunks_exact_mut(W).enumerate() {
            let (scale, values) = sub_block(j);
            let mut weights = [0.0; W];
            for (y, value) in weights.iter_mut().zip(values) {
                *y = scale * f32::from(value);
            }
            out.copy_from_slice(&weights);
        }
    }

    /// Quantizes the super-blocks of a row. `pack` makes a block of its sub-blocks, `None` standing
    /// for one that is zero.
    #[inline(always)]
    pub(super) fn quantize<S: Search, B>(
        &self,
        search: S,
        grid: &Grid<N>,
        row: Row<'_>,
        blocks: &mut [B],
        pack: impl Fn(&[Option<SubBlock<CELLS, BYTES>>; COUNT]) -> B,
    ) {
        for (x, importance, blocks) in row.batches::<BATCH, 256, _>(blocks) {
            let sub_blocks = self.search(search, grid, x, importance);
            for (sub_blocks, block) in sub_blocks.iter().zip(blocks) {
                *block = pack(sub_blocks);
            }
        }
    }

    #[inline(always)]
    fn search<S: Search>(
        &self,
        search: S,
        grid: &Grid<N>,
        x: &[[f32; 256]],
        importance: Option<&[[f32; 256]]>,
    ) -> [[Option<SubBlock<CELLS, BYTES>>; COUNT]; BATCH] {
        // Of the sub-blocks that are not zero, `found` in number, and where they stand.
        let mut magnitudes = [[[0.0; W]; COUNT]; BATCH];
        let magnitudes = magnitudes.as_flattened_mut();
        let mut weights = [[[0.0; W]; COUNT]; BATCH];
        let weights = weights.as_flattened_mut();
        let mut signs = [[[0; BYTES]; COUNT]; BATCH];
        let signs = signs.as_flattened_mut();
        let mut places = [[0; COUNT]; BATCH];
        let places = places.as_flattened_mut();
        let mut found = 0;
        for (i, x) in x.iter().enumerate() {
            let sigma2 = self.blur * search::sum_of_squares(x) / 256.0;
            for (j, x) in x.as_chunks::<W>().0.iter().enumerate() {
                let slot = &mut weights[found];
                *slot = match importance {
                    None => x.map(|v| (self.weight)(v, sigma2)),
                    Some(all) => search::weigh(x, &all[i][W * j..][..W], sigma2),
                };
                (magnitudes[found], signs[found]) = if self.even_signs {
                    lattice::split_even_signs(x, slot)
                } else {
                    lattice::split_signs(x)
                };
                places[found] = i * COUNT + j;
                let top = lattice::top(&magnitudes[found]);
                found += usize::from(top > 0.0 && top >= self.epsilon);
            }
        }
        let (magnitudes, weights) = (&magnitudes[..found], &weights[..found]);
        let mut starts = [[Start::default(); COUNT]; BATCH];
        let starts = &mut starts.as_flattened_mut()[..found];
        self.start(search, magnitudes, weights, starts);
        let mut fits = [[Fit { scale: 0.0, points: [0; CELLS] }; COUNT]; BATCH];
        let fits = &mut fits.as_flattened_mut()[..found];
        let (x, weights) = (bytemuck::cast_slice(magnitudes), bytemuck::cast_slice(weights));
        search.run(LatticeBatch { search: self.search, grid, x, weights, starts, fits });

        let mut sub_blocks = [[None; COUNT]; BATCH];
        for (n, fit) in fits.iter().enumerate() {
            if starts[n].top <= 0.0 {
                continue;
            }
            let signs = if fit.scale < 0.0 { signs[n].map(|s| !s) } else { signs[n] };
            let sub_block = SubBlock { scale: fit.scale.abs(), points: fit.points, signs };
            sub_blocks.as_flattened_mut()[places[n]] = Some(sub_block);
        }
        sub_blocks
    }

    #[inline(always)]
    fn start<S: Search>(
        &self,
        search: S,
        x: &[[f32; W]],
        weights: &[[f32; W]],
        starts: &mut [Start],
    ) {
        let highest = (2 * Grid::<N>::LEVELS - 1) as f32;
        if !self.fit_first {
            for (x, start) in x.iter().zip(starts) {
                let top = lattice::top(x);
                *start = Start { scale: top / highest, top };
            }
            return;
        }
        let most = Grid::<N>::LEVELS as i32;
        let (mut levels, mut scales) = ([[[0; W]; COUNT]; BATCH], [[0.0; COUNT]; BATCH]);
        let levels = &mut levels.as_flattened_mut()[..x.len()];
        let scales = &mut scales.as_flattened_mut()[..x.len()];
        search.run(PositiveBatch { x, max: most + 1, weights, levels, scales });
        for (scale, start) in scales.iter().zip(starts) {
            *start = Start { scale: *scale, top: scale * most as f32 };
        }
    }
}
