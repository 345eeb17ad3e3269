//! `iq4_xs`: super-blocks of 256 weights of 4 bits on uneven levels in eight groups with a signed
//! scale each.
//!
//! Follows `quantize_iq4_xs`, `dequantize_row_iq4_xs` and `ggml_vec_dot_iq4_xs_q8_K_generic` of
//! llama.cpp, the last with integer sums over a whole super-block.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::le::F16Le;
use super::packing::{dot_i8, pack_nibbles, unpack_nibbles};
use super::q8_k::BlockQ8K;
use super::rounding::nearest_int;
use super::search::{self, Search, codebook};

/// 256 weights: `d * (scale - 32) * VALUES[level]`. The lower four bits of the scale of group `j`
/// are nibble `j` of `scales_l`, the upper two are bits `2 j` and `2 j + 1` of `scales_h`, both
/// little-endian.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq4Xs {
    d: F16Le,
    scales_h: [u8; 2],
    scales_l: [u8; 4],
    qs: [[u8; 16]; 8],
}
assert_layout!(BlockIq4Xs);

impl BlockIq4Xs {
    fn quantize(x: &[f32; 256], importance: Option<&[f32]>) -> Self {
        let x = x.as_chunks::<32>().0;
        let sigma2 = search::sum_of_squares(x.as_flattened()) * (2.0 / 256.0);
        let mut scales = [0.0f32; 8];
        for (j, (x, scale)) in x.iter().zip(&mut scales).enumerate() {
            let weights = match importance {
                None => x.map(|v| v * v),
                Some(all) => search::weigh(x, &all[32 * j..][..32], sigma2),
            };
            *scale = codebook::fit(x, &weights);
        }
        let d = -search::largest(&scales) / 32.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let mut block = Self { d: F16Le::new(d), ..Self::zeroed() };
        for (j, (x, scale)) in x.iter().zip(scales).enumerate() {
            let level = nearest_int(inverse * scale).clamp(-32, 31);
            let scale = d * level as f32;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            block.qs[j] = pack_nibbles(&x.map(|v| codebook::nearest(inverse * v)));
            let level = (level + 32) as u8;
            block.scales_l[j / 2] |= (level & 15) << (j % 2 * 4);
            block.scales_h[j / 4] |= (level >> 4) << (j % 4 * 2);
        }
        block
    }

    #[inline(always)]
    fn scale(&self, j: usize) -> i32 {
        let low = self.scales_l[j / 2] >> (j % 2 * 4) & 15;
        let high = self.scales_h[j / 4] >> (j % 4 * 2) & 3;
        i32::from(low | high << 4) - 32
    }

    #[inline(always)]
    fn values(&self, j: usize) -> [i8; 32] {
        unpack_nibbles(&self.qs[j]).map(|level| codebook::VALUES[usize::from(level)])
    }
}

impl Block for BlockIq4Xs {
    const TYPE: GgmlType = GgmlType::IQ4_XS;
    const LARGEST: f32 = F16_MAX * 32.0 * 127.0;
    type Activation = BlockQ8K;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: &[f32], importance: Option<&[f32]>, blocks: &mut [Self]) {
        for (i, (x, block)) in row.as_chunks::<256>().0.iter().zip(blocks).enumerate() {
            *block = Self::quantize(x, importance.map(|all| &all[256 * i..][..256]));
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (j, out) in out.chunks_exact_mut(32).enumerate() {
            let scale = d * self.scale(j) as f32;
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
                products += w.scale(j) * dot_i8(&w.values(j), qs);
            }
            sum += w.d.get() * a.d.get() * products as f32;
        }
        sum
    }
}
