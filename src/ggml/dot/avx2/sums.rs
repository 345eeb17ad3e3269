//! Sums of products within 256-bit vectors, and what it takes to add them up. Knows nothing of
//! blocks.

use std::arch::x86_64::*;

use crate::ggml::dot::LevelRange;
use crate::simd::Avx2;

/// Sums of four products each, in lanes; the products of levels and activations are added in
/// pairs of 16 bits, which no range of level exceeds.
#[inline(always)]
pub(super) fn fours(
    set: Avx2,
    range: LevelRange,
    levels: __m256i,
    activations: &[i8; 32],
    by: __m256i,
) -> __m256i {
    let _ = set;
    // SAFETY: `set` proves that the processor has AVX2; loads need no alignment.
    unsafe {
        let a = _mm256_loadu_si256(activations.as_ptr().cast());
        _mm256_madd_epi16(pairs(set, range, levels, a), by)
    }
}

/// Sums of two products each, in 16 bits.
#[inline(always)]
pub(super) fn pairs(_: Avx2, range: LevelRange, levels: __m256i, activations: __m256i) -> __m256i {
    // SAFETY: the argument proves that the processor has AVX2.
    unsafe {
        match range {
            LevelRange::Unsigned { .. } => _mm256_maddubs_epi16(levels, activations),
            LevelRange::Signed => {
                _mm256_maddubs_epi16(_mm256_abs_epi8(levels), _mm256_sign_epi8(activations, levels))
            }
        }
    }
}

/// From sums over lanes of two groups to one vector with sums of twice as many products, pairs of
/// lanes of the first and the second group in turn.
#[inline(always)]
fn join(_: Avx2, fits: bool, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the argument proves that the processor has AVX2.
    unsafe {
        if fits {
            // Two instructions where the sum over pairs takes three.
            _mm256_madd_epi16(_mm256_packs_epi32(a, b), _mm256_set1_epi16(1))
        } else {
            _mm256_hadd_epi32(a, b)
        }
    }
}

/// Eight vectors of sums of four products to the sums of all their lanes.
#[inline(always)]
pub(super) fn total(set: Avx2, fits: impl Fn(u32) -> bool, fours: [__m256i; 8]) -> __m256i {
    let [a, b, c, d, e, f, g, h] = fours;
    let (ab, cd) = (join(set, fits(4), a, b), join(set, fits(4), c, d));
    let (ef, gh) = (join(set, fits(4), e, f), join(set, fits(4), g, h));
    let (low, high) = (join(set, fits(8), ab, cd), join(set, fits(8), ef, gh));
    // SAFETY: `set` proves that the processor has AVX2.
    unsafe {
        _mm256_add_epi32(
            _mm256_permute2x128_si256::<0x20>(low, high),
            _mm256_permute2x128_si256::<0x31>(low, high),
        )
    }
}

/// The sub-scales of a group as 16 bits for each pair of products.
#[inline(always)]
pub(super) fn sub_scales(_: Avx2, scales: [i8; 16]) -> [__m256i; 8] {
    // SAFETY: the argument proves that the processor has AVX2; the load needs no alignment.
    unsafe {
        let scales = _mm_loadu_si128(scales.as_ptr().cast());
        // The first halves' to the lower 64 bits, the second halves' to the upper.
        let by_half = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
        let wide = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(scales, by_half));
        let mut groups = [wide; 8];
        for (g, group) in groups.iter_mut().enumerate() {
            let index = _mm256_set1_epi16((((2 * g + 1) << 8) | (2 * g)) as i16);
            *group = _mm256_shuffle_epi8(wide, index);
        }
        groups
    }
}

/// Eight rows of eight lanes to eight columns.
#[inline(always)]
pub(in crate::ggml::dot) fn transpose(_: Avx2, rows: [__m256i; 8]) -> [__m256i; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    // SAFETY: the argument proves that the processor has AVX2.
    unsafe {
        let (ab0, ab1) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (cd0, cd1) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        let (ef0, ef1) = (_mm256_unpacklo_epi32(e, f), _mm256_unpackhi_epi32(e, f));
        let (gh0, gh1) = (_mm256_unpacklo_epi32(g, h), _mm256_unpackhi_epi32(g, h));
        let upper = [
            _mm256_unpacklo_epi64(ab0, cd0),
            _mm256_unpackhi_epi64(ab0, cd0),
            _mm256_unpacklo_epi64(ab1, cd1),
            _mm256_unpackhi_epi64(ab1, cd1),
        ];
        let lower = [
            _mm256_unpacklo_epi64(ef0, gh0),
            _mm256_unpackhi_epi64(ef0, gh0),
            _mm256_unpacklo_epi64(ef1, gh1),
            _mm256_unpackhi_epi64(ef1, gh1),
        ];
        let mut columns = [a; 8];
        for i in 0..4 {
            columns[i] = _mm256_permute2x128_si256::<0x20>(upper[i], lower[i]);
            columns[i + 4] = _mm256_permute2x128_si256::<0x31>(upper[i], lower[i]);
        }
        columns
    }
}
