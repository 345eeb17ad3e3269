//! `iq3_s`: super-blocks of 256 weights of 3 bits, every four a point of a codebook with any signs,
//! in eight groups with a scale each.
//!
//! Follows `quantize_row_iq3_s_impl`, `dequantize_row_iq3_s` and
//! `ggml_vec_dot_iq3_s_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use std::sync::LazyLock;

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::grid::{Grid, points::iq3_s::POINTS, values};
use super::le::F16Le;
use super::packing::{dot_i8, nibble};
use super::q8_k::BlockQ8K;
use super::search::{self, Search, lattice};

/// 256 weights: `d * (2 scale + 1) * value`. The ninth bit of point `k` of group `j` is bit `k` of
/// `high[j]`. The scales of groups `2 j` and `2 j + 1` are the nibbles of byte `j`.
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

static VALUES: [[i8; 4]; POINTS.len()] = values(&POINTS, &[1, 3, 5, 7, 9, 11, 13, 15]);
static GRID: LazyLock<Grid<4>> = LazyLock::new(|| Grid::new(&POINTS, 3));
const TRIES: lattice::Tries = lattice::Tries { count: 9, step: 0.2 };

impl BlockIq3S {
    fn quantize(x: &[f32; 256], importance: Option<&[f32]>) -> Self {
        let mut block = Self::zeroed();
        let sigma2 = 2.0 * search::sum_of_squares(x) / 256.0;
        let mut scales = [0.0; 8];
        // After a group of zeros, the reference writes the low bits and the signs of all that
        // follow one group too early, and the rest where it belongs.
        let mut shifted = 0;
        for (j, x) in x.as_chunks::<32>().0.iter().enumerate() {
            let weights = match importance {
                None => x.map(|v| v * v),
                Some(all) => search::weigh(x, &all[32 * j..][..32], sigma2),
            };
            let (x, signs) = lattice::split_signs(x);
            let top = lattice::top(&x);
            if top == 0.0 {
                continue;
            }
            let fit = lattice::fit::<4, 8>(
                &GRID,
                bytemuck::cast_ref(&x),
                bytemuck::cast_ref(&weights),
                (top / 15.0, top),
                TRIES,
                lattice::Refit::AllIfMissed,
            );
            scales[j] = fit.scale;
            block.signs[shifted] = signs;
            block.points[shifted] = fit.points.map(|point| point as u8);
            for (k, point) in fit.points.iter().enumerate() {
                block.high[j] |= ((point >> 8) as u8) << k;
            }
            shifted += 1;
        }
        if let Some((d, levels)) = lattice::odd_scales(&scales, 15) {
            // The reference's factor, which lessens the error.
            block.d = F16Le::new(d * 1.033);
            block.scales = std::array::from_fn(|j| levels[2 * j] | levels[2 * j + 1] << 4);
        }
        block
    }

    #[inline(always)]
    fn scale(&self, j: usize) -> u8 {
        2 * nibble(&self.scales, j) + 1
    }

    #[inline(always)]
    fn values(&self, j: usize) -> [i8; 32] {
        let values: [[i8; 4]; 8] = std::array::from_fn(|k| {
            let high = usize::from(self.high[j] >> k & 1);
            VALUES[usize::from(self.points[j][k]) | high << 8]
        });
        let values: [[i8; 8]; 4] = bytemuck::cast(values);
        let signed: [[i8; 8]; 4] =
            std::array::from_fn(|k| lattice::with_signs(&values[k], self.signs[j][k]));
        bytemuck::cast(signed)
    }
}

impl Block for BlockIq3S {
    const TYPE: GgmlType = GgmlType::IQ3_S;
    const LARGEST: f32 = F16_MAX * 31.0 * 15.0;
    type Activation = BlockQ8K;

    fn quantize_row<S: Search>(_: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [Self]) {
        for (i, (x, block)) in row.as_chunks::<256>().0.iter().zip(blocks).enumerate() {
            *block = Self::quantize(x, importance.map(|all| &all[256 * i..][..256]));
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (j, out) in out.chunks_exact_mut(32).enumerate() {
            let scale = d * f32::from(self.scale(j));
            for (y, value) in out.iter_mut().zip(self.values(j)) {
                *y = scale * f32::from(value);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }

    #[inline(always)]
    fn dot(row: &[Self], activations: &[BlockQ8K]) -> f32 {
        let mut sum = 0.0;
        for (w, a) in row.iter().zip(activations) {
            let mut products = 0;
            for (j, qs) in a.qs.as_chunks::<32>().0.iter().enumerate() {
                products += i32::from(w.scale(j)) * dot_i8(&w.values(j), qs);
            }
            sum += w.d.get() * a.d.get() * products as f32;
        }
        sum
    }
}
