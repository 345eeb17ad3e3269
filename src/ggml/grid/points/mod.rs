//! The codebooks as data, one file each, written by `scripts/make_grids.py`.

pub mod iq1_s;
pub mod iq2_s;
pub mod iq2_xs;
pub mod iq2_xxs;
pub mod iq3_s;
pub mod iq3_xxs;
