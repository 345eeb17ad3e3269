//! `iq2_s`: super-blocks of 256 weights of 2 bits, every eight a point of a codebook with any
//! signs, in sixteen sub-blocks with a scale each.
//!
//! Follows `quantize_row_iq2_s_impl`, `dequantize_row_iq2_s` and
//! `ggml_vec_dot_iq2_s_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use std::sync::LazyLock;

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::grid::{Grid, cells, points::iq2_s::POINTS, values};
use super::lattice_sub_blocks::{self, LatticeSubBlocks, SubBlock};
use super::packing::pack_pairs;
use super::search::lattice::{Lattice, Refit};
use super::signed_cells::{MINUS, SignedCells};
use super::two_cells;

/// 256 weights: `d * (scale + 0.5) / 4 * value`. The lower eight bits of the point of cell `k` are
/// `points[k]`, the upper two are bits `2 (k % 4)` and up of `high[k / 4]`. The scales of sub-blocks
/// `2 j` and `2 j + 1` are the nibbles of byte `j`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq2S {
    d: F16Le,
    points: [u8; 32],
    signs: [[u8; 2]; 16],
    high: [u8; 8],
    scales: [u8; 8],
}
assert_layout!(BlockIq2S);

static VALUES: [u64; POINTS.len()] = cells(values(&POINTS, &[8, 25, 43]));
static GRID: LazyLock<Grid<8>> = LazyLock::new(|| Grid::new(&POINTS, 1));
const SEARCH: LatticeSubBlocks<16, 16, 8, 2, 2> = LatticeSubBlocks {
    search: Lattice { tries: 9, step: 0.1, refit: Refit::Missed },
    even_signs: false,
    fit_first: false,
    epsilon: 1e-8,
    blur: 2.0,
    weight: |v, sigma2| 0.25 * sigma2 + v * v,
};

impl BlockIq2S {
    #[inline(always)]
    fn pack(sub_blocks: &[Option<SubBlock<2, 2>>; 16]) -> Self {
        let mut block = Self::zeroed();
        for (j, sub_block) in sub_blocks.iter().enumerate() {
            let Some(sub_block) = sub_block else { continue };
            block.signs[j] = sub_block.signs;
            for (k, point) in (2 * j..).zip(sub_block.points) {
                block.points[k] = point as u8;
                block.high[k / 4] |= ((point >> 8) as u8) << (k % 4 * 2);
            }
        }
        if let Some((d, levels)) = lattice_sub_blocks::scales(sub_blocks) {
            // The reference's factor, which lessens the error.
            block.d = F16Le::new(d * 0.9875);
            block.scales = pack_pairs(&levels);
        }
        block
    }

    #[inline(always)]
    fn sub_block(&self, j: usize) -> SignedCells<2> {
        let mut magnitudes = [0; 2];
        for (k, magnitudes) in (2 * j..).zip(&mut magnitudes) {
            let high = usize::from(self.high[k / 4] >> (k % 4 * 2) & 3);
            *magnitudes = VALUES[usize::from(self.points[k]) | high << 8];
        }
        let [first, second] = self.signs[j];
        let minus = [first, second].map(|signs| MINUS[usize::from(signs)]);
        SignedCells { magnitudes, minus }
    }
}

impl Block for BlockIq2S {
    const TYPE: GgmlType = GgmlType::IQ2_S;
    const LARGEST: f32 = F16_MAX * 15.5 * 0.25 * 43.0;
    const DEQUANTIZED_IN_CELLS: bool = true;

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

impl Levels for BlockIq2S {
    const RANGE: LevelRange = two_cells::RANGE;
    const SUB_SCALES: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let Self { points, signs, high, .. } = &span[0];
        let mut indices = [0; 4];
        for (k, index) in indices.iter_mut().enumerate() {
            let high = u32::from(high[group] >> (2 * k) & 3);
            *index = u32::from(points[4 * group + k]) | high << 8;
        }
        let signs: [u8; 4] = bytemuck::cast([signs[2 * group], signs[2 * group + 1]]);
        let minus = set.spread(u32::from_le_bytes(signs), 255);
        two_cells::levels(set, set.cells_at(&VALUES, indices), minus)
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
