//! The way without vectors.

/// One weight or group after the other, without vector instructions.
#[derive(Clone, Copy)]
pub(super) struct Scalar;
