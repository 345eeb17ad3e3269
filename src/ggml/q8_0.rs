//! `q8_0`: 32 weights as 8-bit integers with one scale. Also a form of activations.
//!
//! Follows `quantize_row_q8_0_ref`, `dequantize_row_q8_0` and `ggml_vec_dot_q8_0_q8_0_generic` of
//! llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::le::F16Le;
use super::rounding::round_away;
use super::search::Search;

/// 32 weights: `qs[i] * d`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8_0 {
    pub(super) d: F16Le,
    pub(super) qs: [i8; 32],
}
assert_layout!(BlockQ8_0);

impl Block for BlockQ8_0 {
    const TYPE: GgmlType = GgmlType::Q8_0;
    const LARGEST: f32 = F16_MAX * 127.0;
    type Activation = BlockQ8_0;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: &[f32], _: Option<&[f32]>, blocks: &mut [Self]) {
        for (x, block) in row.as_chunks::<32>().0.iter().zip(blocks) {
            let amax = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let d = amax / 127.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            block.d = F16Le::new(d);
            for (q, v) in block.qs.iter_mut().zip(x) {
                *q = round_away(v * inverse) as i8;
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (y, &q) in out.iter_mut().zip(&self.qs) {
            *y = f32::from(q) * d;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }

    #[inline(always)]
    fn dot(row: &[Self], activations: &[BlockQ8_0]) -> f32 {
        let mut sum = 0.0;
        for (w, a) in row.iter().zip(activations) {
            let mut products = 0;
            for (&q, &x) in w.qs.iter().zip(&a.qs) {
                products += i32::from(q) * i32::from(x);
            }
            sum += products as f32 * (w.d.get() * a.d.get());
        }
        sum
    }
}
