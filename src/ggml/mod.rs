//! Block types of ggml: layouts, quantizers, dequantizers, dot products, and the mixes that choose
//! a type per tensor. Knows nothing of files, models or threads.

mod types;

pub use types::{GgmlType, UnknownType};
