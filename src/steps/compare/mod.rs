//! A file against one reference.

mod result;

pub use result::*;
