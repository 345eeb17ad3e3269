//! Eight f32 side by side: the vector that the float kernels are written over, and the instruction
//! sets it comes in.
//!
//! Both keep the same order of sums: lane `l` adds elements `l, l + 8, l + 16, ...`, and
//! [`Lanes::sum`] adds the lanes as a fixed tree. [`Avx2`] fuses multiply and add, [`Portable`]
//! does not, so their results may differ in the last bits; on one machine only one is used.

/// Elements in a vector.
pub const WIDTH: usize = 8;

/// Eight f32.
pub trait Lanes: Copy {
    /// All zero.
    fn zero() -> Self;
    /// The same value in every lane.
    fn splat(value: f32) -> Self;
    fn load(from: &[f32; WIDTH]) -> Self;
    fn store(self, to: &mut [f32; WIDTH]);
    /// `self + a * b`, lane by lane.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + other`, lane by lane.
    fn add(self, other: Self) -> Self;
    /// `self * factor`, lane by lane.
    fn scale(self, factor: Self) -> Self;
    /// The larger of the two, lane by lane; `other` where one of them is no number.
    fn max(self, other: Self) -> Self;
    /// The smaller of the two, lane by lane; `other` where one of them is no number.
    fn min(self, other: Self) -> Self;
    /// `self / divisor`, lane by lane.
    fn over(self, divisor: Self) -> Self;
    /// Zero in lanes where `key` is less than `limit`.
    fn zero_where_less(self, key: Self, limit: Self) -> Self;
    /// `self * 2^n` in lanes that hold finite, normal numbers before and after, where `n` is what
    /// the lowest bits of the representation of `n_in_low_bits` hold, in two's complement.
    fn times_power_of_two(self, n_in_low_bits: Self) -> Self;

    /// `((0+4)+(2+6)) + ((1+5)+(3+7))`.
    #[inline(always)]
    fn sum(self) -> f32 {
        let mut l = [0.0; WIDTH];
        self.store(&mut l);
        ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
    }
}

/// One or two vectors of eight lanes, each lane by itself: what each lane comes to does not depend on
/// how many there are.
pub trait Wide: Copy {
    /// One vector, of the same instruction set.
    type Lanes: Lanes;
    /// How many there are.
    const VECTORS: usize;

    /// All zero.
    fn zero() -> Self;
    /// The same value in every lane.
    fn splat(value: f32) -> Self;
    /// Both, or the first if there is but one.
    fn load(vectors: [&[f32; WIDTH]; 2]) -> Self;
    /// # Panics
    /// If there are fewer vectors in `to`.
    fn store(self, to: &mut [[f32; WIDTH]]);
    /// `self + a * b`, lane by lane.
    fn add_product(self, a: Self, b: Self) -> Self;
    /// `self * factor`, lane by lane.
    fn scale(self, factor: Self) -> Self;
}

impl<V: Lanes> Wide for V {
    type Lanes = V;
    const VECTORS: usize = 1;

    #[inline(always)]
    fn zero() -> Self {
        Lanes::zero()
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Lanes::splat(value)
    }

    #[inline(always)]
    fn load([first, _]: [&[f32; WIDTH]; 2]) -> Self {
        Lanes::load(first)
    }

    #[inline(always)]
    fn store(self, to: &mut [[f32; WIDTH]]) {
        Lanes::store(self, &mut to[0]);
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Lanes::add_product(self, a, b)
    }

    #[inline(always)]
    fn scale(self, factor: Self) -> Self {
        Lanes::scale(self, factor)
    }
}

/// Plain Rust, for any processor.
#[derive(Clone, Copy)]
pub struct Portable([f32; WIDTH]);

impl Lanes for Portable {
    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; WIDTH])
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; WIDTH])
    }

    #[inline(always)]
    fn load(from: &[f32; WIDTH]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; WIDTH]) {
        *to = self.0;
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|l| self.0[l] + a.0[l] * b.0[l]))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|l| self.0[l] + other.0[l]))
    }

    #[inline(always)]
    fn scale(self, factor: Self) -> Self {
        Self(std::array::from_fn(|l| self.0[l] * factor.0[l]))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|l| if self.0[l] > other.0[l] { self.0[l] } else { other.0[l] }))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(std::array::from_fn(|l| if self.0[l] < other.0[l] { self.0[l] } else { other.0[l] }))
    }

    #[inline(always)]
    fn over(self, divisor: Self) -> Self {
        Self(std::array::from_fn(|l| self.0[l] / divisor.0[l]))
    }

    #[inline(always)]
    fn zero_where_less(self, key: Self, limit: Self) -> Self {
        Self(std::array::from_fn(|l| if key.0[l] < limit.0[l] { 0.0 } else { self.0[l] }))
    }

    #[inline(always)]
    fn times_power_of_two(self, n_in_low_bits: Self) -> Self {
        Self(std::array::from_fn(|l| {
            let exponent = n_in_low_bits.0[l].to_bits() << 23;
            f32::from_bits(self.0[l].to_bits().wrapping_add(exponent))
        }))
    }
}

/// AVX2 and FMA.
///
/// Only to be used inside functions with `#[target_feature(enable = "avx2,fma")]`; the methods are
/// always inlined into them.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx2(std::arch::x86_64::__m256);

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: kernels instantiated with this type run only after `has_avx2`.
        Self(unsafe { std::arch::x86_64::_mm256_setzero_ps() })
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm256_set1_ps(value) })
    }

    #[inline(always)]
    fn load(from: &[f32; WIDTH]) -> Self {
        // SAFETY: as in `zero`; the array has eight elements and the load needs no alignment.
        Self(unsafe { std::arch::x86_64::_mm256_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; WIDTH]) {
        // SAFETY: as in `zero`; the array has eight elements and the store needs no alignment.
        unsafe { std::arch::x86_64::_mm256_storeu_ps(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm256_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn scale(self, factor: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm256_mul_ps(self.0, factor.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn over(self, divisor: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm256_div_ps(self.0, divisor.0) })
    }

    #[inline(always)]
    fn zero_where_less(self, key: Self, limit: Self) -> Self {
        use std::arch::x86_64::{_CMP_NLT_UQ, _mm256_and_ps, _mm256_cmp_ps};
        // SAFETY: as in `zero`.
        Self(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_NLT_UQ>(key.0, limit.0)) })
    }

    #[inline(always)]
    fn times_power_of_two(self, n_in_low_bits: Self) -> Self {
        use std::arch::x86_64::{
            _mm256_add_epi32, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_slli_epi32,
        };
        // SAFETY: as in `zero`.
        Self(unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(n_in_low_bits.0));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(self.0), exponent))
        })
    }
}

/// AVX-512: two vectors of eight lanes in one.
///
/// Only to be used inside functions with `#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]`.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx512(std::arch::x86_64::__m512);

#[cfg(target_arch = "x86_64")]
impl Wide for Avx512 {
    type Lanes = Avx2;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: kernels instantiated with this type run only after `has_avx512`.
        Self(unsafe { std::arch::x86_64::_mm512_setzero_ps() })
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load([first, second]: [&[f32; WIDTH]; 2]) -> Self {
        use std::arch::x86_64::{_mm256_loadu_ps, _mm512_castps256_ps512, _mm512_insertf32x8};
        // SAFETY: as in `zero`; the arrays have eight elements and loads need no alignment.
        Self(unsafe {
            let first = _mm512_castps256_ps512(_mm256_loadu_ps(first.as_ptr()));
            _mm512_insertf32x8::<1>(first, _mm256_loadu_ps(second.as_ptr()))
        })
    }

    #[inline(always)]
    fn store(self, to: &mut [[f32; WIDTH]]) {
        let to: &mut [[f32; WIDTH]; 2] = to.first_chunk_mut().expect("two vectors");
        // SAFETY: as in `zero`; the array has sixteen elements and the store needs no alignment.
        unsafe { std::arch::x86_64::_mm512_storeu_ps(to.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm512_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    fn scale(self, factor: Self) -> Self {
        // SAFETY: as in `zero`.
        Self(unsafe { std::arch::x86_64::_mm512_mul_ps(self.0, factor.0) })
    }
}

/// Whether [`Avx2`] may be used on this processor.
#[cfg(target_arch = "x86_64")]
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Whether [`Avx512`] may be used on this processor.
#[cfg(target_arch = "x86_64")]
pub fn has_avx512() -> bool {
    has_avx2() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")
}
