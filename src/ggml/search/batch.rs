//! Batches of groups.

use crate::simd::Simd;

/// What is searched, and where what is found goes: any number of groups, of which all slices have
/// one entry each.
pub(in crate::ggml) trait OneByOne {
    /// One group after the other, without vector instructions.
    fn one_by_one(self);
}

/// A batch that is searched in lanes, too. Both ways find the same, to the bit.
pub(in crate::ggml) trait Batch: OneByOne {
    /// As many groups at a time as there are lanes. Inlined always, so that it is compiled for the
    /// set's instructions.
    fn in_lanes<S: Simd>(self, s: S);
}
