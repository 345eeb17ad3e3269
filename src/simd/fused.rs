//! What kernels over floats need beside [`Simd`].

#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512, instruction};
use super::{MAX_LANES, Portable, Simd};

/// Products that are added where they are made. Not for what has to be the same on every machine:
/// sets round once where they have an instruction for both, and [`Portable`] rounds twice; and lanes
/// are added in an order that depends on how many there are.
pub(crate) trait Fused: Simd {
    /// The set of vectors of eight lanes that is part of this one, or it itself.
    type Eight: Fused;
    /// Vectors of [`Eight`](Self::Eight) that one of this set has the lanes of: one or two.
    const EIGHTS: usize = Self::LANES / 8;

    fn eight(self) -> Self::Eight;

    /// `a * b + c`.
    fn fused(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;

    /// Two times eight floats, or the first eight if there are no more lanes.
    fn load_eights(self, eights: [&[f32; 8]; 2]) -> Self::F32;

    /// `((0+4)+(2+6)) + ((1+5)+(3+7))`, of sixteen lanes after the upper eight are added to the lower.
    #[inline(always)]
    fn sum(self, x: Self::F32) -> f32 {
        let mut l = [0.0; MAX_LANES];
        self.store(x, &mut l);
        for i in 8..Self::LANES {
            l[i - 8] += l[i];
        }
        ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
    }
}

impl Fused for Portable<8> {
    type Eight = Self;

    #[inline(always)]
    fn eight(self) -> Self {
        self
    }

    #[inline(always)]
    fn fused(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn load_eights(self, [first, _]: [&[f32; 8]; 2]) -> [f32; 8] {
        *first
    }
}

#[cfg(target_arch = "x86_64")]
impl Fused for Avx2 {
    type Eight = Self;

    instruction! {
        fused(a: Self::F32, b: Self::F32, c: Self::F32) -> F32 =
            std::arch::x86_64::_mm256_fmadd_ps(a, b, c);
    }

    #[inline(always)]
    fn eight(self) -> Self {
        self
    }

    #[inline(always)]
    fn load_eights(self, [first, _]: [&[f32; 8]; 2]) -> Self::F32 {
        self.load(first)
    }
}

#[cfg(target_arch = "x86_64")]
impl Fused for Avx512 {
    type Eight = Avx2;

    instruction! {
        fused(a: Self::F32, b: Self::F32, c: Self::F32) -> F32 =
            std::arch::x86_64::_mm512_fmadd_ps(a, b, c);
    }

    #[inline(always)]
    fn eight(self) -> Avx2 {
        self.avx2()
    }

    #[inline(always)]
    fn load_eights(self, [first, second]: [&[f32; 8]; 2]) -> Self::F32 {
        use std::arch::x86_64::{_mm512_castps256_ps512, _mm512_insertf32x8};
        let (first, second) = (self.avx2().load(first), self.avx2().load(second));
        // SAFETY: `self` proves that the processor has AVX-512.
        unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), second) }
    }
}
