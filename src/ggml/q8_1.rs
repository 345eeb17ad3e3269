//! `q8_1`: activations for the types that have a minimum; `q8_0` with the sum of the block.
//!
//! Follows `quantize_row_q8_1_ref` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::activation::{Activation, ActivationBlock};
use super::le::F16Le;
use super::rounding::round_away;

/// 32 activations: `qs[i] * d`; `s` is their sum.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8_1 {
    pub(super) d: F16Le,
    pub(super) s: F16Le,
    pub(super) qs: [i8; 32],
}
const _: () = assert!(size_of::<BlockQ8_1>() == 36 && align_of::<BlockQ8_1>() == 1);

impl ActivationBlock for BlockQ8_1 {
    const FORM: Activation = Activation::Q8_1;

    fn quantize_activations(row: &[f32], blocks: &mut [Self]) {
        for (x, block) in row.as_chunks::<32>().0.iter().zip(blocks) {
            let amax = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let d = amax / 127.0;
            let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            let mut sum = 0;
            for (q, v) in block.qs.iter_mut().zip(x) {
                *q = round_away(v * inverse) as i8;
                sum += i32::from(*q);
            }
            block.d = F16Le::new(d);
            block.s = F16Le::new(sum as f32 * d);
        }
    }
}
