//! The searches with one group in each lane of a vector. Each lane does what the scalar search
//! does, in its order; where that branches, both ways are computed and one is chosen.

mod affine;
mod positive;

pub(super) use affine::fit as affine;
pub(super) use positive::fit as positive;
