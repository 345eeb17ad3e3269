//! `q8_K`: activations for the K-quants, with the sums of every 16.
//!
//! Follows `quantize_row_q8_K_ref` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::activation::{Activation, ActivationBlock};
use super::le::{F32Le, I16Le};
use super::rounding::nearest_int;

/// 256 activations: `qs[i] * d`; `sums[j]` is the sum of `qs[16 j ..][.. 16]`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ8K {
    pub(super) d: F32Le,
    pub(super) qs: [i8; 256],
    pub(super) sums: [I16Le; 16],
}
const _: () = assert!(size_of::<BlockQ8K>() == 292 && align_of::<BlockQ8K>() == 1);

impl ActivationBlock for BlockQ8K {
    const FORM: Activation = Activation::Q8_K;

    fn quantize_activations(row: &[f32], blocks: &mut [Self]) {
        for (x, block) in row.as_chunks::<256>().0.iter().zip(blocks) {
            let (mut amax, mut max) = (0.0f32, 0.0f32);
            for &v in x {
                if v.abs() > amax {
                    (amax, max) = (v.abs(), v);
                }
            }
            if amax == 0.0 {
                *block = Self::zeroed();
                continue;
            }
            let inverse = -127.0 / max;
            for (q, v) in block.qs.iter_mut().zip(x) {
                *q = nearest_int(inverse * v).min(127) as i8;
            }
            for (sum, qs) in block.sums.iter_mut().zip(block.qs.as_chunks::<16>().0) {
                *sum = I16Le::new(qs.iter().map(|&q| i16::from(q)).sum());
            }
            block.d = F32Le::new(1.0 / inverse);
        }
    }
}
