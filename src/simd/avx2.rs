//! Vectors of eight lanes with AVX2.

use std::arch::x86_64::*;

use super::{Avx2, MAX_LANES, Simd, instruction};

/// A method for the extreme lane of each of eight vectors: pairs of halves, of quarters and of
/// lanes are compared while the vectors are transposed.
macro_rules! extremes {
    ($name:ident, $extreme:ident) => {
        #[inline(always)]
        fn $name(self, vectors: &[__m256]) -> __m256 {
            let &[a, b, c, d, e, f, g, h] = vectors.first_chunk().expect("eight vectors");
            // SAFETY: `self` proves that the processor has AVX2.
            unsafe {
                let ab = $extreme(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let cd = $extreme(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                let ef = $extreme(_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
                let gh = $extreme(_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
                let low = $extreme(
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
                );
                let high = $extreme(
                    _mm256_shuffle_ps::<0b01_00_01_00>(ef, gh),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ef, gh),
                );
                $extreme(
                    _mm256_permute2f128_ps::<0x20>(low, high),
                    _mm256_permute2f128_ps::<0x31>(low, high),
                )
            }
        }
    };
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F32 = __m256;
    type I32 = __m256i;
    type Mask = __m256;

    instruction! {
        add(a: __m256, b: __m256) -> F32 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> F32 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> F32 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> F32 = _mm256_div_ps(a, b);
        sqrt(a: __m256) -> F32 = _mm256_sqrt_ps(a);
        abs(a: __m256) -> F32 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        min(a: __m256, b: __m256) -> F32 = _mm256_min_ps(a, b);
        max(a: __m256, b: __m256) -> F32 = _mm256_max_ps(a, b);
        lt(a: __m256, b: __m256) -> Mask = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        le(a: __m256, b: __m256) -> Mask = _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        eq(a: __m256, b: __m256) -> Mask = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        select(mask: __m256, a: __m256, b: __m256) -> F32 = _mm256_blendv_ps(b, a, mask);
        clear(mask: __m256, a: __m256) -> F32 = _mm256_andnot_ps(mask, a);
        and(a: __m256, b: __m256) -> Mask = _mm256_and_ps(a, b);
        and_not(a: __m256, b: __m256) -> Mask = _mm256_andnot_ps(b, a);
        sub_i32(a: __m256i, b: __m256i) -> I32 = _mm256_sub_epi32(a, b);
        and_i32(a: __m256i, b: __m256i) -> I32 = _mm256_and_si256(a, b);
        min_i32(a: __m256i, b: __m256i) -> I32 = _mm256_min_epi32(a, b);
        max_i32(a: __m256i, b: __m256i) -> I32 = _mm256_max_epi32(a, b);
        keep_i32(mask: __m256, a: __m256i) -> I32 = _mm256_and_si256(_mm256_castps_si256(mask), a);
        to_bits(a: __m256) -> I32 = _mm256_castps_si256(a);
        to_f32(a: __m256i) -> F32 = _mm256_cvtepi32_ps(a);
        times_power_of_two(x: __m256, n_in_low_bits: __m256) -> F32 = {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(n_in_low_bits));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent))
        };
        truncate(a: __m256) -> I32 = _mm256_cvttps_epi32(a);
        round_away(a: __m256) -> I32 = {
            // Towards zero after adding the float below a half: the half itself would lift the
            // float below it to one.
            let sign = _mm256_and_ps(a, _mm256_set1_ps(-0.0));
            let half = _mm256_or_ps(sign, _mm256_set1_ps(0.5_f32.next_down()));
            _mm256_cvttps_epi32(_mm256_add_ps(a, half))
        };
        shift_nibble(a: __m256i) -> I32 = _mm256_srli_epi32::<4>(a);
        lookup_lane(table: __m256, index: __m256i) -> F32 = _mm256_permutevar8x32_ps(table, index);
        splat(x: f32) -> F32 = _mm256_set1_ps(x);
        load(x: &[f32]) -> F32 =
            _mm256_loadu_ps(x.first_chunk::<8>().expect("eight floats").as_ptr());
        load_f16(x: &[[u8; 2]]) -> F32 = {
            let x = x.first_chunk::<8>().expect("eight floats");
            _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast()))
        };
        load_bf16(x: &[[u8; 2]]) -> F32 = {
            let x = x.first_chunk::<8>().expect("eight floats");
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        };
        splat_i32(x: i32) -> I32 = _mm256_set1_epi32(x);
        load_bits(x: &[u32]) -> I32 =
            _mm256_loadu_si256(x.first_chunk::<8>().expect("eight integers").as_ptr().cast());
    }

    #[inline(always)]
    fn store(self, x: __m256, out: &mut [f32]) {
        let out: &mut [f32; 8] = out.first_chunk_mut().expect("eight floats");
        // SAFETY: `self` proves that the processor has AVX2; eight floats are there.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn bits(self, mask: __m256) -> u32 {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { _mm256_movemask_ps(mask) as u32 }
    }

    extremes!(smallest_of_each, _mm256_min_ps);
    extremes!(largest_of_each, _mm256_max_ps);

    #[inline(always)]
    fn low_bytes(self, parts: &[__m256i]) -> [u8; 32] {
        let low = self.splat_i32(0xff);
        let &[a, b, c, d] = parts.first_chunk().expect("four vectors");
        self.small_bytes(&[
            self.and_i32(a, low),
            self.and_i32(b, low),
            self.and_i32(c, low),
            self.and_i32(d, low),
        ])
    }

    #[inline(always)]
    fn small_bytes(self, parts: &[__m256i]) -> [u8; 32] {
        let &[a, b, c, d] = parts.first_chunk().expect("four vectors");
        let mut bytes = [0; 32];
        // SAFETY: as above; 32 bytes are there.
        unsafe {
            // What is below zero becomes zero here.
            let (ab, cd) = (_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
            // Packing works on halves of vectors: a0 b0 c0 d0 a1 b1 c1 d1, four bytes each.
            let mixed = _mm256_packus_epi16(ab, cd);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let sorted = _mm256_permutevar8x32_epi32(mixed, order);
            _mm256_storeu_si256(bytes.as_mut_ptr().cast(), sorted);
        }
        bytes
    }

    #[inline(always)]
    fn transpose(self, vectors: &mut [__m256]) {
        let vectors: &mut [__m256; 8] = vectors.first_chunk_mut().expect("eight vectors");
        let [a, b, c, d, e, f, g, h] = *vectors;
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe {
            // Within halves of vectors: pairs of rows, then fours of them.
            let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (ef, ef_high) = (_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
            let (gh, gh_high) = (_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
            let low = [
                _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
                _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
            ];
            let high = [
                _mm256_shuffle_ps::<0b01_00_01_00>(ef, gh),
                _mm256_shuffle_ps::<0b11_10_11_10>(ef, gh),
                _mm256_shuffle_ps::<0b01_00_01_00>(ef_high, gh_high),
                _mm256_shuffle_ps::<0b11_10_11_10>(ef_high, gh_high),
            ];
            for i in 0..4 {
                vectors[i] = _mm256_permute2f128_ps::<0x20>(low[i], high[i]);
                vectors[i + 4] = _mm256_permute2f128_ps::<0x31>(low[i], high[i]);
            }
        }
    }

    #[inline(always)]
    fn bytes_by_lane(self, vectors: [__m256i; 4]) -> [[u8; 4]; MAX_LANES] {
        let mut bytes = [[0; 4]; MAX_LANES];
        // SAFETY: `self` proves that the processor has AVX2; 32 bytes are there, and more.
        unsafe {
            _mm256_storeu_si256(bytes.as_mut_ptr().cast(), lanes_of_bytes(self, vectors));
        }
        bytes
    }

    #[inline(always)]
    fn rows_of_bytes(self, vectors: [__m256i; 16]) -> [[u8; 16]; MAX_LANES] {
        let mut parts = [self.splat_i32(0); 4];
        for (part, &four) in parts.iter_mut().zip(vectors.as_chunks().0) {
            *part = lanes_of_bytes(self, four);
        }
        let mut rows = [[0; 16]; MAX_LANES];
        // SAFETY: as above; each store is of a half, which is as long as a row.
        unsafe {
            let (ab, ab_high) = (
                _mm256_unpacklo_epi32(parts[0], parts[1]),
                _mm256_unpackhi_epi32(parts[0], parts[1]),
            );
            let (cd, cd_high) = (
                _mm256_unpacklo_epi32(parts[2], parts[3]),
                _mm256_unpackhi_epi32(parts[2], parts[3]),
            );
            // Half `h` of vector `v` is row `4 h + v`.
            let vectors = [
                _mm256_unpacklo_epi64(ab, cd),
                _mm256_unpackhi_epi64(ab, cd),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ];
            for (v, vector) in vectors.into_iter().enumerate() {
                let low = _mm256_castsi256_si128(vector);
                _mm_storeu_si128(rows[v].as_mut_ptr().cast(), low);
                let high = _mm256_extracti128_si256::<1>(vector);
                _mm_storeu_si128(rows[4 + v].as_mut_ptr().cast(), high);
            }
        }
        rows
    }

    #[inline(always)]
    fn top_bits(self, bytes: &[u8; 32]) -> u32 {
        // SAFETY: `self` proves that the processor has AVX2; 32 bytes are there.
        unsafe { _mm256_movemask_epi8(_mm256_loadu_si256(bytes.as_ptr().cast())) as u32 }
    }

    #[inline(always)]
    fn store_f16(self, x: __m256, out: &mut [[u8; 2]]) {
        let out: &mut [[u8; 2]; 8] = out.first_chunk_mut().expect("eight floats");
        // SAFETY: as above; eight floats of two bytes are there.
        unsafe {
            let eight = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
            _mm_storeu_si128(out.as_mut_ptr().cast(), eight);
        }
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: __m256i) -> __m256 {
        let (low, high) = (self.load(&table[..8]), self.load(&table[8..]));
        // SAFETY: as above.
        unsafe {
            // The permutations look at three bits; the fourth chooses, as the sign.
            let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index));
            let low = _mm256_permutevar8x32_ps(low, index);
            _mm256_blendv_ps(low, _mm256_permutevar8x32_ps(high, index), fourth)
        }
    }

    #[inline(always)]
    fn store_i32(self, x: __m256i, out: &mut [i32]) {
        let out: &mut [i32; 8] = out.first_chunk_mut().expect("eight integers");
        // SAFETY: as above; eight integers are there.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), x) }
    }
}

/// The low bytes of four vectors, those of a lane side by side in that lane. All lanes are from 0 to
/// 255.
#[inline(always)]
fn lanes_of_bytes(_: Avx2, [a, b, c, d]: [__m256i; 4]) -> __m256i {
    // SAFETY: the first argument proves that the processor has AVX2.
    unsafe {
        let (ab, cd) = (_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
        // In each half four bytes of every vector, of which each goes to its lane.
        let order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let order = _mm256_broadcastsi128_si256(order);
        _mm256_shuffle_epi8(_mm256_packus_epi16(ab, cd), order)
    }
}
