//! `iq1_m`: super-blocks of 256 weights of three levels, every eight a point of a codebook and all
//! a little more or a little less, in sixteen sub-blocks with a scale each.
//!
//! Follows `quantize_row_iq1_m_impl`, `dequantize_row_iq1_m` and
//! `ggml_vec_dot_iq1_m_q8_K_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::le::U16Le;
use super::packing::join;
use super::scales;
use super::search::ternary::{self, DELTA, EIGHTHS, Split, SplitBatch, VALUES};
use super::search::{self, lattice};

/// 256 weights: `d * (2 scale + 1) * (value + shift)`. The lower eight bits of the point of cell
/// `k` are `points[k]`; nibble `k` of `rest` has three more and whether the shift is down. The
/// scale of three bits of sub-block `j` is at bit `3 (j % 4)` of `scales[j / 4]`; the upper nibbles of
/// the four are `d`, the lowest first.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq1M {
    points: [[u8; 2]; 16],
    rest: [u8; 16],
    scales: [U16Le; 4],
}
assert_layout!(BlockIq1M);

/// Sub-blocks whose largest magnitude is below this are taken for zero.
const EPSILON: f32 = 1e-7;

/// A sub-block with its scale not yet rounded.
#[derive(Clone, Copy)]
struct SubBlock {
    points: [u16; 2],
    /// Whether the levels of each cell are a little more.
    up: [bool; 2],
    scale: f32,
}

impl SubBlock {
    const ZERO: Self = Self { points: [0; 2], up: [true; 2], scale: 0.0 };

    #[inline(always)]
    fn new<S: Search>(
        search: S,
        x: &[f32; 16],
        weights: &[f32; 16],
        order: &[u8; 16],
        split: Option<Split<[bool; 2]>>,
    ) -> Self {
        let Some(split) = split.filter(|_| search::largest(x).abs() >= EPSILON) else {
            return Self::ZERO;
        };
        let levels = ternary::assign(&split, order);
        let up = split.shift.map(|up| up == (split.scale >= 0.0));
        let (points, scale) = ternary::snap::<S, 2>(
            search,
            bytemuck::cast_ref(x),
            bytemuck::cast_ref(weights),
            bytemuck::cast_ref(&levels),
            &up.map(ternary::levels),
            split.scale.abs(),
        );
        Self { points, up, scale }
    }
}

impl BlockIq1M {
    #[inline(always)]
    fn quantize<S: Search>(search: S, x: &[f32; 256], importance: Option<&[f32]>) -> Self {
        let sigma2 = 2.0 * search::sum_of_squares(x) / 256.0;
        let x = x.as_chunks::<16>().0;
        let weights: [[f32; 16]; 16] = std::array::from_fn(|j| match importance {
            None => x[j].map(|v| v * v),
            Some(all) => search::weigh(&x[j], &all[16 * j..][..16], sigma2),
        });
        let orders: [_; 16] = std::array::from_fn(|j| ternary::order(&x[j]));
        let mut splits = [None; 16];
        search.run(SplitBatch { x, weights: &weights, orders: &orders, splits: &mut splits });
        let mut sub_blocks = [SubBlock::ZERO; 16];
        for (j, sub_block) in sub_blocks.iter_mut().enumerate() {
            *sub_block = SubBlock::new(search, &x[j], &weights[j], &orders[j], splits[j]);
        }
        let mut block = Self::zeroed();
        for (j, sub_block) in sub_blocks.iter().enumerate() {
            block.points[j] = sub_block.points.map(|point| point as u8);
            let high = sub_block.points.map(|point| (point >> 8) as u8);
            block.rest[j] = high[0] | high[1] << 4;
        }
        let Some((mut d, levels)) = lattice::odd_scales(&sub_blocks.map(|g| g.scale), 7) else {
            return block;
        };
        // The best `d` for all that is settled by now.
        let (mut with_x, mut squares) = (0.0f32, 0.0f32);
        for (j, sub_block) in sub_blocks.iter().enumerate() {
            let down = sub_block.up.map(|up| u8::from(!up));
            block.rest[j] |= down[0] << 3 | down[1] << 7;
            for k in 0..2 {
                let values = ternary::levels(sub_block.up[k]);
                let point = ternary::GRID.levels(sub_block.points[k]);
                for i in 0..8 {
                    let q = values[usize::from(point[i])] * f32::from(2 * levels[j] + 1);
                    let w = weights[j][8 * k + i];
                    with_x += w * q * x[j][8 * k + i];
                    squares += w * q * q;
                }
            }
        }
        if squares > 0.0 {
            d = with_x / squares;
        }
        // The reference's factor, which lessens the error.
        let d = F16Le::new(d * 1.1125).bits();
        block.scales = std::array::from_fn(|i| {
            let scales = (0..4).fold(0, |s, k| s | u16::from(levels[4 * i + k]) << (3 * k));
            U16Le::new(scales | d >> (4 * i) << 12)
        });
        block
    }

    #[inline(always)]
    fn d(&self) -> F16Le {
        F16Le::from_bits((0..4).fold(0, |d, i| d | self.scales[i].get() >> 12 << (4 * i)))
    }

    #[inline(always)]
    fn scale(&self, j: usize) -> u8 {
        2 * (self.scales[j / 4].get() >> (j % 4 * 3) & 7) as u8 + 1
    }

    /// The point of cell `k` of sub-block `j`, and whether its shift is down.
    #[inline(always)]
    fn point(&self, j: usize, k: usize) -> (u32, bool) {
        let rest = self.rest[j] >> (4 * k);
        (u32::from(self.points[j][k]) | u32::from(rest & 7) << 8, rest >> 3 & 1 == 1)
    }
}

impl Block for BlockIq1M {
    const TYPE: GgmlType = GgmlType::IQ1_M;
    const LARGEST: f32 = F16_MAX * 15.0 * 1.125;
    const DEQUANTIZED_IN_CELLS: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        for (i, (x, block)) in row.x.as_chunks::<256>().0.iter().zip(blocks).enumerate() {
            *block = Self::quantize(search, x, row.importance.map(|all| &all[256 * i..][..256]));
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d().get();
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            let scale = d * f32::from(self.scale(i / 2));
            let (point, down) = self.point(i / 2, i % 2);
            let shift = if down { -DELTA } else { DELTA };
            let values: [i8; 8] = bytemuck::cast(VALUES[point as usize].to_le_bytes());
            for (y, value) in out.iter_mut().zip(values) {
                *y = scale * (f32::from(value) + shift);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d().is_finite()
    }
}

impl Levels for BlockIq1M {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 18, center: 9 };
    const SUB_SCALES: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        // In eighths, so that shifts are whole numbers.
        let (mut indices, mut shifts) = ([0; 4], [0; 4]);
        for (k, (index, shift)) in indices.iter_mut().zip(&mut shifts).enumerate() {
            let (point, down) = span[0].point(2 * group + k / 2, k % 2);
            *index = point;
            *shift = if down { 0 } else { 0x0202_0202_0202_0202 };
        }
        let eighths = set.or_above(set.cells_at(&EIGHTHS, indices), set.cells(shifts), 0);
        set.offset(eighths, 8)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.mul(set.splat_half(span[0].d().bits()), set.splat(DELTA))
    }

    #[inline(always)]
    fn sub_scales(span: &[Self]) -> [i8; 16] {
        let four = |scales: U16Le| {
            let x = u32::from(scales.get());
            x & 7 | (x & 0x38) << 5 | (x & 0x1c0) << 10 | (x & 0xe00) << 15
        };
        let [a, b, c, d] = span[0].scales;
        bytemuck::cast([scales::odd(join(four(a), four(b))), scales::odd(join(four(c), four(d)))])
    }
}
