//! `q8_1`: activations for the types that have a minimum; `q8_0` with the sum of the block.
//!
//! Follows `quantize_row_q8_1_ref` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::activation::{Activation, ActivationBlock};
use super::le::F16Le;
use super::rules::{RUN, inverse};
use super::search::Search;

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

    #[inline(always)]
    fn quantize_activations<S: Search>(search: S, row: &[f32], blocks: &mut [Self]) {
        for (x, blocks) in row.as_chunks::<32>().0.chunks(RUN).zip(blocks.chunks_mut(RUN)) {
            let scales = search.largest_magnitudes(x).map(|v| v / 127.0);
            let (ds, mut sums) = (search.narrow(&scales), [0.0; RUN]);
            for (i, (x, block)) in x.iter().zip(&mut *blocks).enumerate() {
                block.d = ds[i];
                block.qs = search.rounded_away(x, inverse(scales[i]));
                let sum: i32 = block.qs.iter().map(|&q| i32::from(q)).sum();
                sums[i] = sum as f32 * scales[i];
            }
            for (block, s) in blocks.iter_mut().zip(search.narrow(&sums)) {
                block.s = s;
            }
        }
    }
}
