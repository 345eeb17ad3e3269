//! `iq3_s`: super-blocks of 256 weights of 3 bits, every four a point of a codebook with any signs,
//! in eight sub-blocks with a scale each.
//!
//! Follows `quantize_row_iq3_s_impl`, `dequantize_row_iq3_s` and
//! `ggml_vec_dot_iq3_s_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use std::sync::LazyLock;

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::grid::{Grid, half_cells, points::iq3_s::POINTS, values};
use super::lattice_sub_blocks::{self, LatticeSubBlocks, SubBlock};
use super::packing::{nibble, pack_pairs, spread_nibbles};
use super::scales;
use super::search::lattice::{Lattice, Refit};
use super::signed_cells::{MINUS, SignedCells, cell_of_two};

/// 256 weights: `d * (2 scale + 1) * value`. The ninth bit of point `k` of sub-block `j` is bit `k` of
/// `high[j]`. The scales of sub-blocks `2 j` and `2 j + 1` are the nibbles of byte `j`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq3S {
    d: F16Le,
    points: [[u8; 8]; 8],
    high: [u8; 8],
    signs: [[u8; 4]; 8],
    scales: [u8; 4],
}
assert_layout!(BlockIq3S);

static VALUES: [u32; POINTS.len()] = half_cells(values(&POINTS, &[1, 3, 5, 7, 9, 11, 13, 15]));
static GRID: LazyLock<Grid<4>> = LazyLock::new(|| Grid::new(&POINTS, 3));
const SEARCH: LatticeSubBlocks<32, 8, 4, 8, 4> = LatticeSubBlocks {
    search: Lattice { tries: 9, step: 0.2, refit: Refit::AllIfMissed },
    even_signs: false,
    fit_first: false,
    epsilon: 0.0,
    blur: 2.0,
    weight: |v, _| v * v,
};

impl BlockIq3S {
    #[inline(always)]
    fn pack(sub_blocks: &[Option<SubBlock<8, 4>>; 8]) -> Self {
        let mut block = Self::zeroed();
        // After a sub-block of zeros, the reference writes the low bits and the signs of all that
        // follow one sub-block too early, and the rest where it belongs.
        let mut shifted = 0;
        for (j, sub_block) in sub_blocks.iter().enumerate() {
            let Some(sub_block) = sub_block else { continue };
            block.signs[shifted] = sub_block.signs;
            block.points[shifted] = sub_block.points.map(|point| point as u8);
            let high = |high, (k, point): (usize, &u16)| high | ((point >> 8) as u8) << k;
            block.high[j] = sub_block.points.iter().enumerate().fold(0, high);
            shifted += 1;
        }
        if let Some((d, levels)) = lattice_sub_blocks::scales(sub_blocks) {
            // The reference's factor, which lessens the error.
            block.d = F16Le::new(d * 1.033);
            block.scales = pack_pairs(&levels);
        }
        block
    }

    #[inline(always)]
    fn scale(&self, j: usize) -> u8 {
        2 * nibble(&self.scales, j) + 1
    }

    #[inline(always)]
    fn sub_block(&self, j: usize) -> SignedCells<4> {
        let values = |k: usize| {
            let high = usize::from(self.high[j] >> k & 1);
            VALUES[usize::from(self.points[j][k]) | high << 8]
        };
        let mut magnitudes = [0; 4];
        for (k, magnitudes) in magnitudes.iter_mut().enumerate() {
            *magnitudes = cell_of_two(values(2 * k), values(2 * k + 1));
        }
        let mut minus = [0; 4];
        for (minus, &signs) in minus.iter_mut().zip(&self.signs[j]) {
            *minus = MINUS[usize::from(signs)];
        }
        SignedCells { magnitudes, minus }
    }
}

impl Block for BlockIq3S {
    const TYPE: GgmlType = GgmlType::IQ3_S;
    const LARGEST: f32 = F16_MAX * 31.0 * 15.0;
    const DEQUANTIZED_IN_CELLS: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        SEARCH.quantize(search, &GRID, row, blocks, Self::pack);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        SEARCH.dequantize(out, |j| {
            (d * f32::from(self.scale(j)), bytemuck::cast(self.sub_block(j).values()))
        });
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq3S {
    const RANGE: LevelRange = LevelRange::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let Self { points, high, signs, .. } = &span[0];
        let magnitudes = set.half_cells_at(&VALUES, &points[group], high[group]);
        set.negate(magnitudes, set.spread(u32::from_le_bytes(signs[group]), 255))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        scales::of_groups(set, span[0].d, scales::odd(spread_nibbles(span[0].scales)))
    }
}
