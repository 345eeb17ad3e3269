//! Two groups of a run in a vector of 64 bytes, for types whose levels come so with few instructions.
//! Knows nothing of blocks.

use std::arch::x86_64::*;

use super::Vnni;
use crate::ggml::dot::{Levels, Run, TwoGroups};

impl Vnni {
    /// Sums of products of the first groups of two rows, an even number, with two groups to a vector.
    #[inline(always)]
    pub(super) fn sums_of_two<B: Levels>(
        self,
        runs: [&[B]; 2],
        groups: usize,
        activations: &Run,
    ) -> [__m256i; 2] {
        const { assert!(!B::IN_TWOS || B::KIND.fits(8), "sums of eight products fit 16 bits") };
        // SAFETY: `self` proves that the processor has AVX-512 and VNNI; loads need no alignment,
        // and are of 64 of the 256 levels.
        unsafe {
            let mut rows = [_mm512_setzero_si512(); 2];
            for (sums, run) in rows.iter_mut().zip(runs) {
                // Of each group, eight sums of four products.
                let mut eights = [_mm512_setzero_si512(); 4];
                for (pair, eight) in eights.iter_mut().enumerate() {
                    if 2 * pair >= groups {
                        break;
                    }
                    let levels = B::levels_of_two(self, run, pair);
                    let a = _mm512_loadu_si512(activations.levels[2 * pair..].as_ptr().cast());
                    *eight = _mm512_dpbusd_epi32(_mm512_setzero_si512(), levels, a);
                }
                let [a, b, c, d] = eights;
                // In the two lower quarters sums of groups 0, 2, 4 and 6, of the others above.
                *sums = pairs(self, pairs(self, a, b), pairs(self, c, d));
            }
            let [a, b] = rows;
            let sums = _mm512_add_epi32(
                _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b),
                _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b),
            );
            let order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
            let sums = _mm512_permutexvar_epi32(order, sums);
            [_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums)]
        }
    }
}

/// Sums of neighbours in each quarter, first those of `a`, then those of `b`: all fit into 16 bits,
/// so it takes two instructions where integers of 32 bits would take three.
#[inline(always)]
fn pairs(_: Vnni, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the first argument proves that the processor has AVX-512.
    unsafe { _mm512_madd_epi16(_mm512_packs_epi32(a, b), _mm512_set1_epi16(1)) }
}

impl TwoGroups for Vnni {
    type Both = __m512i;

    #[inline(always)]
    fn both(self, [low, high]: [__m256i; 2]) -> __m512i {
        // SAFETY: `self` proves that the processor has AVX-512.
        unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high) }
    }

    #[inline(always)]
    fn both_nibbles(self, [low, high]: [&[u8; 16]; 2]) -> __m512i {
        // SAFETY: as above; loads need no alignment.
        unsafe {
            let low = _mm512_broadcast_i32x4(_mm_loadu_si128(low.as_ptr().cast()));
            let high = _mm_loadu_si128(high.as_ptr().cast());
            let both = _mm512_mask_broadcast_i32x4(low, 0xff00, high);
            let by = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
            _mm512_and_si512(_mm512_srlv_epi64(both, by), _mm512_set1_epi8(15))
        }
    }

    #[inline(always)]
    fn both_halves(self, from: &[u8; 32]) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let both = _mm512_broadcast_i64x4(_mm256_loadu_si256(from.as_ptr().cast()));
            let by = _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4);
            _mm512_and_si512(_mm512_srlv_epi64(both, by), _mm512_set1_epi8(15))
        }
    }

    #[inline(always)]
    fn both_lookup(self, table: &[i8; 16], bytes: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, bytes)
        }
    }
}
