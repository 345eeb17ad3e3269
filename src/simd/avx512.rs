//! Vectors of sixteen lanes with AVX-512.

use std::arch::x86_64::*;

use super::{Avx512, MAX_LANES, Simd, instruction};

/// A method for the extreme lane of each of sixteen vectors: pairs of lanes, of quarters and of halves
/// are compared while the vectors are transposed.
macro_rules! extremes {
    ($name:ident, $extreme:ident) => {
        #[inline(always)]
        fn $name(self, vectors: &[__m512]) -> __m512 {
            let vectors: &[__m512; 16] = vectors.first_chunk().expect("sixteen vectors");
            // SAFETY: `self` proves that the processor has AVX-512.
            unsafe {
                // Of four vectors each: their extremes within every quarter, side by side.
                let mut fours = [_mm512_setzero_ps(); 4];
                for (four, &[a, b, c, d]) in fours.iter_mut().zip(vectors.as_chunks().0) {
                    let ab = $extreme(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                    let cd = $extreme(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                    *four = $extreme(
                        _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                        _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
                    );
                }
                let [a, b, c, d] = fours;
                let low = $extreme(
                    _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
                    _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
                );
                let high = $extreme(
                    _mm512_shuffle_f32x4::<0b01_00_01_00>(c, d),
                    _mm512_shuffle_f32x4::<0b11_10_11_10>(c, d),
                );
                $extreme(
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(low, high),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(low, high),
                )
            }
        }
    };
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    type F32 = __m512;
    type I32 = __m512i;
    type Mask = __mmask16;

    instruction! {
        add(a: __m512, b: __m512) -> F32 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> F32 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> F32 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> F32 = _mm512_div_ps(a, b);
        sqrt(a: __m512) -> F32 = _mm512_sqrt_ps(a);
        abs(a: __m512) -> F32 = _mm512_abs_ps(a);
        min(a: __m512, b: __m512) -> F32 = _mm512_min_ps(a, b);
        max(a: __m512, b: __m512) -> F32 = _mm512_max_ps(a, b);
        lt(a: __m512, b: __m512) -> Mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a: __m512, b: __m512) -> Mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        eq(a: __m512, b: __m512) -> Mask = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        select(mask: __mmask16, a: __m512, b: __m512) -> F32 = _mm512_mask_blend_ps(mask, b, a);
        clear(mask: __mmask16, a: __m512) -> F32 =
            _mm512_mask_blend_ps(mask, a, _mm512_setzero_ps());
        and(a: __mmask16, b: __mmask16) -> Mask = _kand_mask16(a, b);
        and_not(a: __mmask16, b: __mmask16) -> Mask = _kandn_mask16(b, a);
        lt_where(mask: __mmask16, a: __m512, b: __m512) -> Mask =
            _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(mask, a, b);
        differ_where(mask: __mmask16, a: __m512, b: __m512) -> Mask =
            _mm512_mask_cmp_ps_mask::<_CMP_NEQ_UQ>(mask, a, b);
        sub_i32(a: __m512i, b: __m512i) -> I32 = _mm512_sub_epi32(a, b);
        and_i32(a: __m512i, b: __m512i) -> I32 = _mm512_and_si512(a, b);
        min_i32(a: __m512i, b: __m512i) -> I32 = _mm512_min_epi32(a, b);
        max_i32(a: __m512i, b: __m512i) -> I32 = _mm512_max_epi32(a, b);
        keep_i32(mask: __mmask16, a: __m512i) -> I32 = _mm512_maskz_mov_epi32(mask, a);
        to_bits(a: __m512) -> I32 = _mm512_castps_si512(a);
        to_f32(a: __m512i) -> F32 = _mm512_cvtepi32_ps(a);
        times_power_of_two(x: __m512, n_in_low_bits: __m512) -> F32 = {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(n_in_low_bits));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), exponent))
        };
        truncate(a: __m512) -> I32 = _mm512_cvttps_epi32(a);
        round_away(a: __m512) -> I32 = {
            // Towards zero after adding the float below a half: the half itself would lift the
            // float below it to one.
            let sign = _mm512_and_ps(a, _mm512_set1_ps(-0.0));
            let half = _mm512_or_ps(sign, _mm512_set1_ps(0.5_f32.next_down()));
            _mm512_cvttps_epi32(_mm512_add_ps(a, half))
        };
        shift_nibble(a: __m512i) -> I32 = _mm512_srli_epi32::<4>(a);
        lookup_lane(table: __m512, index: __m512i) -> F32 = _mm512_permutexvar_ps(index, table);
        splat(x: f32) -> F32 = _mm512_set1_ps(x);
        load(x: &[f32]) -> F32 =
            _mm512_loadu_ps(x.first_chunk::<16>().expect("sixteen floats").as_ptr());
        load_f16(x: &[[u8; 2]]) -> F32 = {
            let x = x.first_chunk::<16>().expect("sixteen floats");
            _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast()))
        };
        load_bf16(x: &[[u8; 2]]) -> F32 = {
            let x = x.first_chunk::<16>().expect("sixteen floats");
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        };
        splat_i32(x: i32) -> I32 = _mm512_set1_epi32(x);
        load_bits(x: &[u32]) -> I32 =
            _mm512_loadu_si512(x.first_chunk::<16>().expect("sixteen integers").as_ptr().cast());
        lookup(table: &[f32; 16], index: __m512i) -> F32 =
            _mm512_permutexvar_ps(index, _mm512_loadu_ps(table.as_ptr()));
    }

    #[inline(always)]
    fn store(self, x: __m512, out: &mut [f32]) {
        let out: &mut [f32; 16] = out.first_chunk_mut().expect("sixteen floats");
        // SAFETY: `self` proves that the processor has AVX-512; sixteen floats are there.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn bits(self, mask: __mmask16) -> u32 {
        u32::from(mask)
    }

    extremes!(smallest_of_each, _mm512_min_ps);
    extremes!(largest_of_each, _mm512_max_ps);

    #[inline(always)]
    fn low_bytes(self, parts: &[__m512i]) -> [u8; 32] {
        let &[a, b] = parts.first_chunk().expect("two vectors");
        let mut bytes = [0; 32];
        // SAFETY: as above; 32 bytes are there.
        unsafe {
            let both = _mm256_set_m128i(_mm512_cvtepi32_epi8(b), _mm512_cvtepi32_epi8(a));
            _mm256_storeu_si256(bytes.as_mut_ptr().cast(), both);
        }
        bytes
    }

    #[inline(always)]
    fn small_bytes(self, parts: &[__m512i]) -> [u8; 32] {
        self.low_bytes(parts)
    }

    #[inline(always)]
    fn transpose(self, vectors: &mut [__m512]) {
        let vectors: &mut [__m512; 16] = vectors.first_chunk_mut().expect("sixteen vectors");
        // SAFETY: `self` proves that the processor has AVX-512.
        unsafe {
            // Within quarters of vectors: four rows each.
            for four in vectors.as_chunks_mut().0 {
                let [a, b, c, d] = *four;
                let (ab, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (cd, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                *four = [
                    _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                    _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
                    _mm512_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                    _mm512_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
                ];
            }
            // Quarters as if they were lanes.
            for i in 0..4 {
                let (a, b) = (vectors[i], vectors[i + 4]);
                let (c, d) = (vectors[i + 8], vectors[i + 12]);
                let ab = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                let ab_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                let cd = _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d);
                let cd_odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d);
                vectors[i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
                vectors[i + 4] = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab_odd, cd_odd);
                vectors[i + 8] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd);
                vectors[i + 12] = _mm512_shuffle_f32x4::<0b11_01_11_01>(ab_odd, cd_odd);
            }
        }
    }

    #[inline(always)]
    fn bytes_by_lane(self, vectors: [__m512i; 4]) -> [[u8; 4]; MAX_LANES] {
        let mut bytes = [[0; 4]; MAX_LANES];
        // SAFETY: `self` proves that the processor has AVX-512; 64 bytes are there.
        unsafe {
            _mm512_storeu_si512(bytes.as_mut_ptr().cast(), lanes_of_bytes(self, vectors));
        }
        bytes
    }

    #[inline(always)]
    fn rows_of_bytes(self, vectors: [__m512i; 16]) -> [[u8; 16]; MAX_LANES] {
        let mut parts = [self.splat_i32(0); 4];
        for (part, &four) in parts.iter_mut().zip(vectors.as_chunks().0) {
            *part = lanes_of_bytes(self, four);
        }
        let mut rows = [[0; 16]; MAX_LANES];
        // SAFETY: as above; each store is of a quarter, which is as long as a row.
        unsafe {
            let (ab, ab_high) = (
                _mm512_unpacklo_epi32(parts[0], parts[1]),
                _mm512_unpackhi_epi32(parts[0], parts[1]),
            );
            let (cd, cd_high) = (
                _mm512_unpacklo_epi32(parts[2], parts[3]),
                _mm512_unpackhi_epi32(parts[2], parts[3]),
            );
            // Quarter `q` of vector `v` is row `4 q + v`.
            let vectors = [
                _mm512_unpacklo_epi64(ab, cd),
                _mm512_unpackhi_epi64(ab, cd),
                _mm512_unpacklo_epi64(ab_high, cd_high),
                _mm512_unpackhi_epi64(ab_high, cd_high),
            ];
            for (v, vector) in vectors.into_iter().enumerate() {
                let mut put = |q: usize, quarter: __m128i| {
                    _mm_storeu_si128(rows[4 * q + v].as_mut_ptr().cast(), quarter);
                };
                put(0, _mm512_castsi512_si128(vector));
                put(1, _mm512_extracti32x4_epi32::<1>(vector));
                put(2, _mm512_extracti32x4_epi32::<2>(vector));
                put(3, _mm512_extracti32x4_epi32::<3>(vector));
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
    fn store_f16(self, x: __m512, out: &mut [[u8; 2]]) {
        let out: &mut [[u8; 2]; 16] = out.first_chunk_mut().expect("sixteen floats");
        // SAFETY: as above; sixteen floats of two bytes are there.
        unsafe {
            let sixteen = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), sixteen);
        }
    }

    #[inline(always)]
    fn store_i32(self, x: __m512i, out: &mut [i32]) {
        let out: &mut [i32; 16] = out.first_chunk_mut().expect("sixteen integers");
        // SAFETY: as above; sixteen integers are there.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), x) }
    }
}

/// The low bytes of four vectors, those of a lane side by side in that lane. All lanes are from 0 to
/// 255.
#[inline(always)]
fn lanes_of_bytes(_: Avx512, [a, b, c, d]: [__m512i; 4]) -> __m512i {
    // SAFETY: the first argument proves that the processor has AVX-512.
    unsafe {
        let ab = _mm512_or_si512(a, _mm512_slli_epi32::<8>(b));
        let cd = _mm512_or_si512(_mm512_slli_epi32::<16>(c), _mm512_slli_epi32::<24>(d));
        _mm512_or_si512(ab, cd)
    }
}
