//! `iq3_xxs`: super-blocks of 256 weights of 3 bits, every four a point of a codebook, every eight
//! with an even number of minus signs, in eight sub-blocks with a scale each.
//!
//! Follows `quantize_row_iq3_xxs_impl`, `dequantize_row_iq3_xxs` and
//! `ggml_vec_dot_iq3_xxs_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use std::sync::LazyLock;

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::grid::{Grid, half_cells, points::iq3_xxs::POINTS, values};
use super::lattice_sub_blocks::{self, LatticeSubBlocks, SubBlock};
use super::packing;
use super::scales;
use super::search::lattice::{self, Lattice, Refit};
use super::signed_cells::{SignedCells, cell_of_two, even_minus};

/// 256 weights: `d * (scale + 0.5) / 2 * value`. Of the 32 bits of a sub-block in `rest`,
/// little-endian, the upper four are its scale and every seven of the others the signs of eight
/// weights.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq3Xxs {
    d: F16Le,
    points: [[u8; 8]; 8],
    rest: [[u8; 4]; 8],
}
assert_layout!(BlockIq3Xxs);

static VALUES: [u32; POINTS.len()] = half_cells(values(&POINTS, &[4, 12, 20, 28, 36, 44, 52, 62]));
static GRID: LazyLock<Grid<4>> = LazyLock::new(|| Grid::new(&POINTS, 2));
const SEARCH: LatticeSubBlocks<32, 8, 4, 8, 4> = LatticeSubBlocks {
    search: Lattice { tries: 15, step: 0.2, refit: Refit::Missed },
    even_signs: true,
    fit_first: false,
    epsilon: 1e-8,
    blur: 2.0,
    weight: |v, _| v * v,
};

impl BlockIq3Xxs {
    #[inline(always)]
    fn pack(sub_blocks: &[Option<SubBlock<8, 4>>; 8]) -> Self {
        let Some((d, levels)) = lattice_sub_blocks::scales(sub_blocks) else {
            return Self::zeroed();
        };
        Self {
            // The reference's factor, which lessens the error.
            d: F16Le::new(d * 1.0125),
            points: sub_blocks.map(|g| g.map_or([0; 8], |g| g.points.map(|point| point as u8))),
            rest: std::array::from_fn(|j| {
                let signs = sub_blocks[j].map_or(0, |g| lattice::pack_even_signs(&g.signs));
                (signs | u32::from(levels[j]) << 28).to_le_bytes()
            }),
        }
    }

    /// The scale of a sub-block, less its half step.
    #[inline(always)]
    fn scale(&self, j: usize) -> u8 {
        self.rest[j][3] >> 4
    }

    #[inline(always)]
    fn sub_block(&self, j: usize) -> SignedCells<4> {
        let mut magnitudes = [0; 4];
        for (magnitudes, points) in magnitudes.iter_mut().zip(self.points[j].as_chunks().0) {
            let &[low, high]: &[u8; 2] = points;
            *magnitudes = cell_of_two(VALUES[usize::from(low)], VALUES[usize::from(high)]);
        }
        let minus = even_minus(u32::from_le_bytes(self.rest[j]));
        SignedCells { magnitudes, minus }
    }
}

impl Block for BlockIq3Xxs {
    const TYPE: GgmlType = GgmlType::IQ3_XXS;
    const LARGEST: f32 = F16_MAX * 15.5 * 0.5 * 62.0;
    const DEQUANTIZED_IN_CELLS: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        SEARCH.quantize(search, &GRID, row, blocks, Self::pack);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        SEARCH.dequantize(out, |j| {
            let scale = d * (0.5 + f32::from(self.scale(j))) * 0.5;
            (scale, bytemuck::cast(self.sub_block(j).values()))
        });
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq3Xxs {
    const RANGE: LevelRange = LevelRange::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let Self { points, rest, .. } = &span[0];
        let minus = even_minus(u32::from_le_bytes(rest[group]));
        set.negate(set.half_cells_at(&VALUES, &points[group], 0), set.cells(minus))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        let levels = scales::odd(packing::bytes(|j| span[0].scale(j)));
        set.mul(scales::of_groups(set, span[0].d, levels), set.splat(0.25))
    }
}
