//! Vector instructions: what proves that the processor has them, and the vectors that they work on.
//!
//! A *token* of a set of instructions is made by its detection and by nothing else, so whoever has
//! one may run what is compiled for that set; with the Cargo feature `portable` there is none.
//! Knows nothing of what is computed.

mod aligned;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod features;
mod fused;
mod kernel;
mod lanes;
mod portable;
pub(crate) mod rounding;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tokens;

pub(crate) use aligned::Aligned;
pub(crate) use features::features;
pub(crate) use fused::Fused;
pub(crate) use kernel::{Kernel, run_best};
pub(crate) use lanes::{MAX_LANES, Simd};
pub(crate) use portable::Portable;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use tokens::Amx;
#[cfg(target_arch = "x86_64")]
pub(crate) use tokens::instruction;
#[cfg(target_arch = "x86_64")]
pub(crate) use tokens::{Avx2, Avx512, Vnni};
