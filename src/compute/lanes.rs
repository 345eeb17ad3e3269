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
    /// The larger of the two, lane by lane; `other` where `self` is no number.
    fn max(self, other: Self) -> Self;
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

/// Whether [`Avx2`] may be used on this processor.
#[cfg(target_arch = "x86_64")]
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Dot products of every row with every column vector: `result[r][t] = rows[r] · columns[t]`.
///
/// All slices have the same length. Each result is summed in an order that depends on that length
/// alone, not on `R` or `T`: a tile of any size gives the same numbers.
#[inline(always)]
pub fn dot_tile<V: Lanes, const R: usize, const T: usize>(
    rows: [&[f32]; R],
    columns: [&[f32]; T],
) -> [[f32; T]; R] {
    let (rows, row_tails) = split(rows);
    let (columns, column_tails) = split(columns);
    let mut sums = [[V::zero(); T]; R];
    let blocks = rows.iter().chain(&columns).map(|s| s.len()).min().unwrap_or(0);
    let rows = rows.map(|s| &s[..blocks]);
    let columns = columns.map(|s| &s[..blocks]);
    for b in 0..blocks {
        // Not by `map`: its closure may be left a function, compiled without the set's instructions.
        let mut c = [V::zero(); T];
        for (c, column) in c.iter_mut().zip(&columns) {
            *c = V::load(&column[b]);
        }
        for r in 0..R {
            let w = V::load(&rows[r][b]);
            for t in 0..T {
                sums[r][t] = sums[r][t].add_product(w, c[t]);
            }
        }
    }
    std::array::from_fn(|r| {
        std::array::from_fn(|t| {
            let tail: f32 = row_tails[r].iter().zip(column_tails[t]).map(|(a, b)| a * b).sum();
            sums[r][t].sum() + tail
        })
    })
}

#[inline(always)]
fn split<const N: usize>(slices: [&[f32]; N]) -> ([&[[f32; WIDTH]]; N], [&[f32]; N]) {
    (slices.map(|s| s.as_chunks::<WIDTH>().0), slices.map(|s| s.as_chunks::<WIDTH>().1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i + 1).wrapping_mul(seed) >> 16) as f32 / 32768.0 - 1.0).collect()
    }

    fn check<V: Lanes>() {
        for n in [0, 1, 7, 8, 9, 64, 191, 192] {
            let rows = [values(n, 2654435761), values(n, 40503), values(n, 2246822519)];
            let columns = [values(n, 3266489917), values(n, 668265263)];
            let tile =
                dot_tile::<V, 3, 2>([&rows[0], &rows[1], &rows[2]], [&columns[0], &columns[1]]);
            for r in 0..3 {
                for t in 0..2 {
                    let [[single]] = dot_tile::<V, 1, 1>([&rows[r]], [&columns[t]]);
                    assert_eq!(tile[r][t].to_bits(), single.to_bits());
                    let exact: f64 = rows[r]
                        .iter()
                        .zip(&columns[t])
                        .map(|(&a, &b)| f64::from(a) * f64::from(b))
                        .sum();
                    assert!((f64::from(single) - exact).abs() < 1e-4, "{n}: {single} {exact}");
                }
            }
        }
    }

    #[test]
    fn portable_tiles_agree_with_f64() {
        check::<Portable>();
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn avx2_tiles_agree_with_f64() {
        if has_avx2() {
            println!("ran: avx2+fma");
            check::<Avx2>();
        } else {
            println!("not run: this processor has no avx2+fma");
        }
    }
}
