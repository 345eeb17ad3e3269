//! `iq2_xxs`: super-blocks of 256 weights of 2 bits, every eight a point of a codebook with an even
//! number of minus signs, in eight sub-blocks with a scale each.
//!
//! Follows `quantize_row_iq2_xxs_impl`, `dequantize_row_iq2_xxs` and
//! `ggml_vec_dot_iq2_xxs_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use std::sync::LazyLock;

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::grid::{Grid, cells, points::iq2_xxs::POINTS, values};
use super::lattice_sub_blocks::{self, LatticeSubBlocks, SubBlock};
use super::packing;
use super::scales;
use super::search::EPSILON;
use super::search::lattice::{self, Lattice, Refit};
use super::signed_cells::{SignedCells, even_minus};

/// 256 weights: `d * (scale + 0.5) / 4 * value`. A sub-block's first four bytes are the points of its
/// cells; of the other 32 bits, little-endian, the upper four are its scale and every seven of the
/// rest the signs of a cell.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq2Xxs {
    d: F16Le,
    sub_blocks: [[[u8; 4]; 2]; 8],
}
assert_layout!(BlockIq2Xxs);

static VALUES: [u64; POINTS.len()] = cells(values(&POINTS, &[8, 25, 43]));
static GRID: LazyLock<Grid<8>> = LazyLock::new(|| Grid::new(&POINTS, 2));
const SEARCH: LatticeSubBlocks<32, 8, 8, 4, 4> = LatticeSubBlocks {
    search: Lattice { tries: 6, step: 0.1, refit: Refit::All },
    even_signs: true,
    fit_first: true,
    epsilon: EPSILON,
    blur: 1.0,
    weight: |_, _| 0.0,
};

impl BlockIq2Xxs {
    #[inline(always)]
    fn pack(sub_blocks: &[Option<SubBlock<4, 4>>; 8]) -> Self {
        let Some((d, levels)) = lattice_sub_blocks::scales(sub_blocks) else {
            return Self::zeroed();
        };
        let sub_blocks = std::array::from_fn(|j| {
            let (points, signs) = sub_blocks[j]
                .map_or(([0; 4], 0), |g| (g.points, lattice::pack_even_signs(&g.signs)));
            let rest = signs | u32::from(levels[j]) << 28;
            [points.map(|point| point as u8), rest.to_le_bytes()]
        });
        Self { d: F16Le::new(d), sub_blocks }
    }

    /// The scale of a sub-block, less its half step.
    #[inline(always)]
    fn scale(&self, j: usize) -> u8 {
        self.sub_blocks[j][1][3] >> 4
    }

    #[inline(always)]
    fn sub_block(&self, j: usize) -> SignedCells<4> {
        let [points, rest] = self.sub_blocks[j];
        let mut magnitudes = [0; 4];
        for (magnitudes, point) in magnitudes.iter_mut().zip(points) {
            *magnitudes = VALUES[usize::from(point)];
        }
        SignedCells { magnitudes, minus: even_minus(u32::from_le_bytes(rest)) }
    }
}

impl Block for BlockIq2Xxs {
    const TYPE: GgmlType = GgmlType::IQ2_XXS;
    const LARGEST: f32 = F16_MAX * 15.5 * 0.25 * 43.0;
    const DEQUANTIZED_IN_CELLS: bool = true;
    const NEEDS_IMPORTANCE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        SEARCH.quantize(search, &GRID, row, blocks, Self::pack);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        SEARCH.dequantize(out, |j| {
            let scale = d * (0.5 + f32::from(self.scale(j))) * 0.25;
            (scale, bytemuck::cast(self.sub_block(j).values()))
        });
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq2Xxs {
    const RANGE: LevelRange = LevelRange::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let [points, rest] = span[0].sub_blocks[group];
        let mut indices = [0; 4];
        for (index, point) in indices.iter_mut().zip(points) {
            *index = u32::from(point);
        }
        let minus = even_minus(u32::from_le_bytes(rest));
        set.negate(set.cells_at(&VALUES, indices), set.cells(minus))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        let levels = scales::odd(packing::bytes(|j| span[0].scale(j)));
        set.mul(scales::of_groups(set, span[0].d, levels), set.splat(0.125))
    }
}
