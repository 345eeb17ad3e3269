//! `iq2_xs`: super-blocks of 256 weights of 2 bits, every eight a point of a codebook with an even
//! number of minus signs, in sixteen sub-blocks with a scale each.
//!
//! Follows `quantize_row_iq2_xs_impl`, `dequantize_row_iq2_xs` and
//! `ggml_vec_dot_iq2_xs_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use std::sync::LazyLock;

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::grid::{Grid, cells, points::iq2_xs::POINTS, values};
use super::lattice_sub_blocks::{self, LatticeSubBlocks, SubBlock};
use super::le::U16Le;
use super::packing::pack_pairs;
use super::search::EPSILON;
use super::search::lattice::{Lattice, Refit};
use super::signed_cells::{EVEN_MINUS, SignedCells};
use super::two_cells;

/// 256 weights: `d * (scale + 0.5) / 4 * value`. The lower nine bits of a cell are its point, the
/// upper seven its signs. The scales of sub-blocks `2 j` and `2 j + 1` are the nibbles of byte `j`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq2Xs {
    d: F16Le,
    cells: [[U16Le; 2]; 16],
    scales: [u8; 8],
}
assert_layout!(BlockIq2Xs);

static VALUES: [u64; POINTS.len()] = cells(values(&POINTS, &[8, 25, 43]));
static GRID: LazyLock<Grid<8>> = LazyLock::new(|| Grid::new(&POINTS, 2));
const SEARCH: LatticeSubBlocks<16, 16, 8, 2, 2> = LatticeSubBlocks {
    search: Lattice { tries: 9, step: 0.1, refit: Refit::Missed },
    even_signs: true,
    fit_first: false,
    epsilon: EPSILON,
    blur: 1.0,
    weight: |_, _| 0.0,
};

impl BlockIq2Xs {
    #[inline(always)]
    fn pack(sub_blocks: &[Option<SubBlock<2, 2>>; 16]) -> Self {
        let Some((d, levels)) = lattice_sub_blocks::scales(sub_blocks) else {
            return Self::zeroed();
        };
        let cells = sub_blocks.map(|sub_block| {
            let (points, signs) = sub_block.map_or(([0; 2], [0; 2]), |g| (g.points, g.signs));
            std::array::from_fn(|k| U16Le::new(points[k] | u16::from(signs[k] & 127) << 9))
        });
        let scales = pack_pairs(&levels);
        Self { d: F16Le::new(d), cells, scales }
    }

    #[inline(always)]
    fn sub_block(&self, j: usize) -> SignedCells<2> {
        let mut cells = SignedCells { magnitudes: [0; 2], minus: [0; 2] };
        for (k, bits) in self.cells[j].into_iter().enumerate() {
            let bits = bits.get();
            cells.magnitudes[k] = VALUES[usize::from(bits & 511)];
            cells.minus[k] = EVEN_MINUS[usize::from(bits >> 9)];
        }
        cells
    }
}

impl Block for BlockIq2Xs {
    const TYPE: GgmlType = GgmlType::IQ2_XS;
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
            (two_cells::scale(d, &self.scales, j), bytemuck::cast(self.sub_block(j).values()))
        });
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq2Xs {
    const RANGE: LevelRange = two_cells::RANGE;
    const SUB_SCALES: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let (mut indices, mut minus) = ([0; 4], [0; 4]);
        for (k, (index, minus)) in indices.iter_mut().zip(&mut minus).enumerate() {
            let bits = span[0].cells[2 * group + k / 2][k % 2].get();
            *index = u32::from(bits & 511);
            *minus = EVEN_MINUS[usize::from(bits >> 9)];
        }
        two_cells::levels(set, set.cells_at(&VALUES, indices), set.cells(minus))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.mul(set.splat_half(span[0].d.bits()), set.splat(0.125))
    }

    #[inline(always)]
    fn sub_scales(span: &[Self]) -> [i8; 16] {
        two_cells::sub_scales(&span[0].scales)
    }
}
