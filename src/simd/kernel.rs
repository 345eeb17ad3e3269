//! Running what is compiled for a set of instructions.

use super::Portable;
#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512};

/// What can be compiled for a set, or for any set `S`.
///
/// The arguments are the fields. The body is a method and no closure: that may be left a function,
/// compiled without the set's instructions.
pub(crate) trait Kernel<S> {
    type Output;

    /// Does the work. Inlined always, so that it is compiled for the set's instructions.
    fn run(self, set: S) -> Self::Output;
}

/// Runs a kernel with the processor's longest vectors.
#[inline]
#[cfg(target_arch = "x86_64")]
pub(crate) fn run_best<T, K>(kernel: K) -> T
where
    K: Kernel<Avx512, Output = T> + Kernel<Avx2, Output = T> + Kernel<Portable<8>, Output = T>,
{
    if let Some(set) = Avx512::detect() {
        return set.run(kernel);
    }
    if let Some(set) = Avx2::detect() {
        return set.run(kernel);
    }
    kernel.run(Portable)
}

/// Runs a kernel with the processor's longest vectors.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run_best<T, K: Kernel<Portable<8>, Output = T>>(kernel: K) -> T {
    kernel.run(Portable)
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// Runs what is compiled for these instructions.
    #[inline]
    pub fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        fn compiled<K: Kernel<Avx2>>(set: Avx2, kernel: K) -> K::Output {
            kernel.run(set)
        }
        // SAFETY: `self` proves that the processor has the features.
        unsafe { compiled(self, kernel) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// Runs what is compiled for these instructions.
    #[inline]
    pub fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt"
        )]
        fn compiled<K: Kernel<Avx512>>(set: Avx512, kernel: K) -> K::Output {
            kernel.run(set)
        }
        // SAFETY: `self` proves that the processor has the features.
        unsafe { compiled(self, kernel) }
    }
}
