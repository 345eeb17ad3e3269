//! The way without vectors.

/// One weight or sub-block after the other, without vector instructions.
#[derive(Clone, Copy)]
pub(super) struct Scalar;
