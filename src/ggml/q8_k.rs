//! `q8_K`: activations for the K-quants, with the sums of every 16.
//!
//! Follows `quantize_row_q8_K_ref` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::activation::{Activation, ActivationBlock};
use super::le::{F32Le, I16Le};
use super::search::{Search, largest};

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

    #[inline(always)]
    fn quantize_activations<S: Search>(search: S, row: &[f32], blocks: &mut [Self]) {
        for (x, block) in row.as_chunks::<256>().0.iter().zip(blocks) {
            let groups = x.as_chunks::<32>().0;
            let max = largest(&search.largest(groups)[..groups.len()]);
            if max == 0.0 {
                *block = Self::zeroed();
                continue;
            }
            let inverse = -127.0 / max;
            for (x, qs) in groups.iter().zip(block.qs.as_chunks_mut::<32>().0) {
                *qs = search.rounded_even(x, inverse);
            }
            for (sum, qs) in block.sums.iter_mut().zip(block.qs.as_chunks::<16>().0) {
                *sum = I16Le::new(qs.iter().map(|&q| i16::from(q)).sum());
            }
            block.d = F32Le::new(1.0 / inverse);
        }
    }
}
