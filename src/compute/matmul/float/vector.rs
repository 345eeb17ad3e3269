//! Vectors of floats that products are summed in, and how each instruction set widens weights.
//!
//! Lane `l` of `N` adds the products of columns `l`, `l + N`, `l + 2 N` and so on, and the lanes are
//! added as a tree: sets with other widths, and plain Rust, which does not fuse multiply and add,
//! differ in the last bits. On one machine only one is used.

use super::weight::{Brain, Half, Weight};
use crate::compute::lanes::{Lanes, Portable, WIDTH};

/// `N` single-precision floats.
pub trait Vector<const N: usize>: Copy {
    fn zero() -> Self;
    fn load(from: &[f32; N]) -> Self;
    fn halves(from: &[Half; N]) -> Self;
    fn brains(from: &[Brain; N]) -> Self;
    /// `self + a * b`, lane by lane.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum of all lanes, as a tree.
    fn sum(self) -> f32;
}

impl Vector<WIDTH> for Portable {
    #[inline(always)]
    fn zero() -> Self {
        Lanes::zero()
    }

    #[inline(always)]
    fn load(from: &[f32; WIDTH]) -> Self {
        Lanes::load(from)
    }

    #[inline(always)]
    fn halves(from: &[Half; WIDTH]) -> Self {
        Lanes::load(&from.map(Half::get))
    }

    #[inline(always)]
    fn brains(from: &[Brain; WIDTH]) -> Self {
        Lanes::load(&from.map(Brain::get))
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Lanes::add_product(self, a, b)
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        Lanes::sum(self)
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Brain, Half, Vector, WIDTH};
    use crate::compute::lanes::{self, Lanes};

    /// AVX2, FMA and F16C. Only for functions that are compiled for these.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Avx2 {
        /// Whether this processor has them.
        pub fn available() -> bool {
            lanes::has_avx2() && is_x86_feature_detected!("f16c")
        }
    }

    impl Vector<WIDTH> for Avx2 {
        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: kernels with this type run only where `available`, here and below.
            Self(unsafe { _mm256_setzero_ps() })
        }

        #[inline(always)]
        fn load(from: &[f32; WIDTH]) -> Self {
            // SAFETY: as above; the array is as long as the vector, and loads need no alignment.
            Self(unsafe { _mm256_loadu_ps(from.as_ptr()) })
        }

        #[inline(always)]
        fn halves(from: &[Half; WIDTH]) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())) })
        }

        #[inline(always)]
        fn brains(from: &[Brain; WIDTH]) -> Self {
            // SAFETY: as above.
            Self(unsafe {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
            })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            let mut l = [0.0; WIDTH];
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(l.as_mut_ptr(), self.0) };
            Lanes::sum(<lanes::Portable as Lanes>::load(&l))
        }
    }

    /// AVX-512 (F). Only for functions that are compiled for it.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Avx512 {
        /// Whether this processor has it.
        pub fn available() -> bool {
            Avx2::available() && is_x86_feature_detected!("avx512f")
        }
    }

    impl Vector<16> for Avx512 {
        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: kernels with this type run only where `available`, here and below.
            Self(unsafe { _mm512_setzero_ps() })
        }

        #[inline(always)]
        fn load(from: &[f32; 16]) -> Self {
            // SAFETY: as above; the array is as long as the vector, and loads need no alignment.
            Self(unsafe { _mm512_loadu_ps(from.as_ptr()) })
        }

        #[inline(always)]
        fn halves(from: &[Half; 16]) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) })
        }

        #[inline(always)]
        fn brains(from: &[Brain; 16]) -> Self {
            // SAFETY: as above.
            Self(unsafe {
                let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
            })
        }

        #[inline(always)]
        fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            let mut l = [0.0; 16];
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(l.as_mut_ptr(), self.0) };
            let mut halves = [0.0; WIDTH];
            for (i, half) in halves.iter_mut().enumerate() {
                *half = l[i] + l[i + WIDTH];
            }
            Lanes::sum(<lanes::Portable as Lanes>::load(&halves))
        }
    }
}
