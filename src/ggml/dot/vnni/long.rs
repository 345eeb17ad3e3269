//! Levels in vectors of 64 bytes, for types where they come so with few instructions. Knows nothing of
//! how blocks are packed.

use std::arch::x86_64::*;

use crate::ggml::dot::{ActivationBlock, Levels, LongBytes};
use crate::simd::Vnni;

impl Vnni {
    /// Sums of products of the first groups of two rows, by [`Long::Halves`](super::Long::Halves): a
    /// quarter of a vector has one group only, so that few additions within quarters are left.
    #[inline(always)]
    pub(super) fn sums_by_halves<B: Levels>(
        self,
        spans: [&[B]; 2],
        groups: usize,
        activations: &ActivationBlock,
    ) -> __m512i {
        let a = self.activations(activations);
        // SAFETY: `self` proves that the processor has AVX-512 and VNNI.
        unsafe {
            // Of each quad of groups, first and last halves.
            let halves = [
                _mm512_shuffle_i32x4::<0b10_00_10_00>(a[0], a[1]),
                _mm512_shuffle_i32x4::<0b11_01_11_01>(a[0], a[1]),
                _mm512_shuffle_i32x4::<0b10_00_10_00>(a[2], a[3]),
                _mm512_shuffle_i32x4::<0b11_01_11_01>(a[2], a[3]),
            ];
            let zero = _mm512_setzero_si512();
            // Of each row and quad, four sums of eight products of each group.
            let mut sums = [[zero; 2]; 2];
            for (sums, span) in sums.iter_mut().zip(spans) {
                for (quad, sum) in sums.iter_mut().enumerate() {
                    if 4 * quad >= groups {
                        break;
                    }
                    let mut bytes = [None; 4];
                    for (i, bytes) in bytes.iter_mut().enumerate() {
                        if 4 * quad + i < groups {
                            *bytes = Some(B::nibbles(span, 4 * quad + i));
                        }
                    }
                    let [first, last] = self.split_nibbles(self.quarters(bytes));
                    let (first, last) = (B::levels_of(self, first), B::levels_of(self, last));
                    *sum = _mm512_dpbusd_epi32(zero, first, halves[2 * quad]);
                    *sum = _mm512_dpbusd_epi32(*sum, last, halves[2 * quad + 1]);
                }
            }
            let [a, b] = sums;
            let (a, b) = (neighbors(self, a[0], a[1]), neighbors(self, b[0], b[1]));
            let (a, b) = (_mm512_castsi512_ps(a), _mm512_castsi512_ps(b));
            let even = _mm512_castps_si512(_mm512_shuffle_ps::<0b10_00_10_00>(a, b));
            let odd = _mm512_castps_si512(_mm512_shuffle_ps::<0b11_01_11_01>(a, b));
            // Quarter k has groups k and k + 4 of the first row, and of the second.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(order, _mm512_add_epi32(even, odd))
        }
    }

    /// Sums of products of whole spans of two rows, by [`Long::Pairs`](super::Long::Pairs).
    #[inline(always)]
    pub(super) fn sums_by_pairs<B: Levels>(
        self,
        spans: [&[B]; 2],
        activations: &ActivationBlock,
    ) -> __m512i {
        let a = self.activations(activations);
        // SAFETY: `self` proves that the processor has AVX-512 and VNNI.
        unsafe {
            let mut rows = [_mm512_setzero_si512(); 2];
            for (sums, span) in rows.iter_mut().zip(spans) {
                // Of each group, eight sums of four products.
                let mut eights = [_mm512_setzero_si512(); 4];
                for (pair, (eight, a)) in eights.iter_mut().zip(a).enumerate() {
                    *eight = _mm512_dpbusd_epi32(*eight, B::pair(self, span, pair), a);
                }
                let [a, b, c, d] = eights;
                // In the two lower quarters sums of groups 0, 2, 4 and 6, of the others above.
                *sums = neighbors(self, neighbors(self, a, b), neighbors(self, c, d));
            }
            let [a, b] = rows;
            let sums = _mm512_add_epi32(
                _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b),
                _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b),
            );
            let order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
            _mm512_permutexvar_epi32(order, sums)
        }
    }

    /// The levels of two groups each.
    #[inline(always)]
    fn activations(self, block: &ActivationBlock) -> [__m512i; 4] {
        let mut pairs = [self.wide_zero_i32(); 4];
        for (pair, levels) in pairs.iter_mut().zip(block.levels.as_chunks::<2>().0) {
            // SAFETY: `self` proves that the processor has AVX-512; the load of 64 bytes needs no
            // alignment.
            *pair = unsafe { _mm512_loadu_si512(levels.as_ptr().cast()) };
        }
        pairs
    }

    #[inline(always)]
    pub(super) fn wide_zero_i32(self) -> __m512i {
        // SAFETY: `self` proves that the processor has AVX-512.
        unsafe { _mm512_setzero_si512() }
    }
}

/// Sums of neighbours in each quarter, first those of `a`, then those of `b`: all fit into 16 bits,
/// so it takes two instructions where integers of 32 bits would take three.
#[inline(always)]
fn neighbors(_: Vnni, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the first argument proves that the processor has AVX-512.
    unsafe { _mm512_madd_epi16(_mm512_packs_epi32(a, b), _mm512_set1_epi16(1)) }
}

impl LongBytes for Vnni {
    type Long = __m512i;

    #[inline(always)]
    fn quarters(self, [a, b, c, d]: [Option<&[u8; 16]>; 4]) -> __m512i {
        // SAFETY: `self` proves that the processor has AVX-512; loads need no alignment.
        unsafe {
            let load = |from: Option<&[u8; 16]>| match from {
                Some(from) => _mm_loadu_si128(from.as_ptr().cast()),
                None => _mm_setzero_si128(),
            };
            let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(a)), load(b));
            let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(c)), load(d));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }

    #[inline(always)]
    fn split_nibbles(self, bytes: __m512i) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe {
            let mask = _mm512_set1_epi8(15);
            let high = _mm512_srli_epi16::<4>(bytes);
            [_mm512_and_si512(bytes, mask), _mm512_and_si512(high, mask)]
        }
    }

    #[inline(always)]
    fn long_lookup(self, table: &[i8; 16], bytes: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, bytes)
        }
    }

    #[inline(always)]
    fn long_nibbles(self, from: &[u8; 32]) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let both = _mm512_broadcast_i64x4(_mm256_loadu_si256(from.as_ptr().cast()));
            let by = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
            _mm512_and_si512(_mm512_srlv_epi64(both, by), _mm512_set1_epi8(15))
        }
    }
}
