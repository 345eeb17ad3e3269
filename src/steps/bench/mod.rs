//! The benchmark of one file.

mod result;

pub use result::*;
