//! Batches of sub-blocks.

use crate::simd::Simd;

/// What is searched, and where what is found goes: any number of sub-blocks, of which all slices have
/// one entry each.
pub(in crate::ggml) trait OneByOne {
    /// One sub-block after the other, without vector instructions.
    fn one_by_one(self);
}

/// A batch that is searched in lanes, too. Both ways find the same, to the bit.
pub(in crate::ggml) trait Batch: OneByOne {
    /// As many sub-blocks at a time as there are lanes. Inlined always, so that it is compiled for the
    /// set's instructions.
    fn in_lanes<S: Simd>(self, s: S);
}
