//! `iq1_s`: super-blocks of 256 weights of three levels, every eight a point of a codebook, in
//! eight sub-blocks with a scale each and levels that are all a little more or all a little less.
//!
//! Follows `quantize_row_iq1_s_impl`, `dequantize_row_iq1_s` and
//! `ggml_vec_dot_iq1_s_q8_K_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::le::U16Le;
use super::packing;
use super::scales;
use super::search::ternary::{self, DELTA, EIGHTHS, SplitBatch, VALUES};
use super::search::{self, lattice};

/// 256 weights: `d * (2 scale + 1) * (value + shift)`. The lower eight bits of the points of a
/// sub-block are in `points`. From the lowest bits up, `rest` has three more of each of the four
/// points, the scale of three bits, and whether the shift is down.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq1S {
    d: F16Le,
    points: [[u8; 4]; 8],
    rest: [U16Le; 8],
}
assert_layout!(BlockIq1S);

/// Sub-blocks whose largest magnitude is below this are taken for zero.
const EPSILON: f32 = 1e-12;

impl BlockIq1S {
    #[inline(always)]
    fn quantize<S: Search>(search: S, x: &[f32; 256], importance: &[f32; 256]) -> Self {
        let sigma2 = 2.0 * search::sum_of_squares(x) / 256.0;
        let x: &[[f32; 32]; 8] = bytemuck::cast_ref(x);
        let importance = importance.as_chunks::<32>().0;
        let weights: [[f32; 32]; 8] =
            std::array::from_fn(|j| search::weigh(&x[j], &importance[j], sigma2));
        let orders: [_; 8] = std::array::from_fn(|j| ternary::order(&x[j]));
        let mut splits = [None; 8];
        search.run(SplitBatch { x, weights: &weights, orders: &orders, splits: &mut splits });

        let mut block = Self::zeroed();
        let mut scales = [0.0; 8];
        let (mut rest, mut down) = ([0; 8], [0; 8]);
        for (j, split) in splits.iter().enumerate() {
            let Some(split) = split.filter(|_| search::largest(&x[j]).abs() >= EPSILON) else {
                continue;
            };
            let levels = ternary::assign(&split, &orders[j]);
            let up = split.shift == (split.scale >= 0.0);
            let (points, scale) = ternary::snap::<S, 4>(
                search,
                bytemuck::cast_ref(&x[j]),
                bytemuck::cast_ref(&weights[j]),
                bytemuck::cast_ref(&levels),
                &[ternary::levels(up); 4],
                split.scale.abs(),
            );
            scales[j] = scale;
            block.points[j] = points.map(|point| point as u8);
            rest[j] = (0..4).fold(0, |rest, k| rest | points[k] >> 8 << (3 * k));
            down[j] = u16::from(!up);
        }
        if let Some((d, levels)) = lattice::odd_scales(&scales, 7) {
            // The reference's factor, which lessens the error.
            block.d = F16Le::new(d * 1.125);
            for (j, rest) in rest.iter_mut().enumerate() {
                *rest |= u16::from(levels[j]) << 12 | down[j] << 15;
            }
        }
        block.rest = rest.map(U16Le::new);
        block
    }

    /// Scale and values of a sub-block, and whether the shift is down.
    #[inline(always)]
    fn sub_block(&self, j: usize) -> (u8, [u64; 4], bool) {
        let rest = self.rest[j].get();
        let mut values = [0; 4];
        for (k, values) in values.iter_mut().enumerate() {
            let high = rest >> (3 * k) & 7;
            *values = VALUES[usize::from(u16::from(self.points[j][k]) | high << 8)];
        }
        (2 * (rest >> 12 & 7) as u8 + 1, values, rest >> 15 == 1)
    }
}

impl Block for BlockIq1S {
    const TYPE: GgmlType = GgmlType::IQ1_S;
    const LARGEST: f32 = F16_MAX * 15.0 * 1.125;
    const DEQUANTIZED_IN_CELLS: bool = true;
    const NEEDS_IMPORTANCE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        let importance = row.importance.unwrap_or_default().as_chunks::<256>().0;
        for ((x, importance), block) in
            row.x.as_chunks::<256>().0.iter().zip(importance).zip(blocks)
        {
            *block = Self::quantize(search, x, importance);
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (j, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, values, down) = self.sub_block(j);
            let scale = d * f32::from(scale);
            let shift = if down { -DELTA } else { DELTA };
            let values: [i8; 32] = bytemuck::cast(values.map(u64::to_le_bytes));
            for (y, value) in out.iter_mut().zip(values) {
                *y = scale * (f32::from(value) + shift);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq1S {
    const RANGE: LevelRange = LevelRange::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        // In eighths, so that the shift is a whole number.
        let rest = span[0].rest[group].get();
        let mut indices = [0; 4];
        for (k, (index, point)) in indices.iter_mut().zip(span[0].points[group]).enumerate() {
            *index = u32::from(point) | u32::from(rest >> (3 * k) & 7) << 8;
        }
        let shift = if rest >> 15 == 1 { 255 } else { 1 };
        set.offset(set.cells_at(&EIGHTHS, indices), shift)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        let levels = scales::odd(packing::bytes(|j| (span[0].rest[j].get() >> 12 & 7) as u8));
        set.mul(scales::of_groups(set, span[0].d, levels), set.splat(DELTA))
    }
}
