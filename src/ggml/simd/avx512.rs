//! Vectors of sixteen lanes with AVX-512.

use std::arch::x86_64::*;
use std::sync::LazyLock;

use super::{Avx2, Simd};
use crate::ggml::le::F16Le;

/// AVX-512 as servers have it (F, BW, DQ and VL), with AVX2 and its companions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::ggml) struct Avx512(());

impl Avx512 {
    /// The proof, where the processor has these and the operating system keeps their registers.
    #[inline]
    pub fn detect() -> Option<Self> {
        // Asked once: a kernel that runs for microseconds asks each time.
        static HAS: LazyLock<bool> = LazyLock::new(|| {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && Avx2::detect().is_some()
        });
        HAS.then_some(Self(()))
    }
}

/// A method for the extreme lane of each of sixteen vectors.
macro_rules! extremes {
    ($name:ident, $extreme:ident) => {
        #[inline(always)]
        fn $name(self, vectors: &[__m512]) -> __m512 {
            let mut extremes = [0.0; 16];
            for (extreme, &vector) in extremes.iter_mut().zip(vectors) {
                // SAFETY: `self` proves that the processor has AVX-512.
                *extreme = unsafe { $extreme(vector) };
            }
            self.load(&extremes)
        }
    };
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    type F32 = __m512;
    type I32 = __m512i;
    type Mask = __mmask16;

    instruction! {
        add(a: F32, b: F32) -> F32 = _mm512_add_ps(a, b);
        sub(a: F32, b: F32) -> F32 = _mm512_sub_ps(a, b);
        mul(a: F32, b: F32) -> F32 = _mm512_mul_ps(a, b);
        div(a: F32, b: F32) -> F32 = _mm512_div_ps(a, b);
        sqrt(a: F32) -> F32 = _mm512_sqrt_ps(a);
        abs(a: F32) -> F32 = _mm512_abs_ps(a);
        min(a: F32, b: F32) -> F32 = _mm512_min_ps(a, b);
        max(a: F32, b: F32) -> F32 = _mm512_max_ps(a, b);
        lt(a: F32, b: F32) -> Mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a: F32, b: F32) -> Mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        eq(a: F32, b: F32) -> Mask = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        select(mask: Mask, a: F32, b: F32) -> F32 = _mm512_mask_blend_ps(mask, b, a);
        and(a: Mask, b: Mask) -> Mask = _kand_mask16(a, b);
        and_not(a: Mask, b: Mask) -> Mask = _kandn_mask16(b, a);
        sub_i32(a: I32, b: I32) -> I32 = _mm512_sub_epi32(a, b);
        and_i32(a: I32, b: I32) -> I32 = _mm512_and_si512(a, b);
        min_i32(a: I32, b: I32) -> I32 = _mm512_min_epi32(a, b);
        max_i32(a: I32, b: I32) -> I32 = _mm512_max_epi32(a, b);
        keep_i32(mask: Mask, a: I32) -> I32 = _mm512_maskz_mov_epi32(mask, a);
        to_bits(a: F32) -> I32 = _mm512_castps_si512(a);
        to_f32(a: I32) -> F32 = _mm512_cvtepi32_ps(a);
        truncate(a: F32) -> I32 = _mm512_cvttps_epi32(a);
        round_away(a: F32) -> I32 = {
            // Towards zero after adding the float below a half: the half itself would lift the
            // float below it to one.
            let sign = _mm512_and_ps(a, _mm512_set1_ps(-0.0));
            let half = _mm512_or_ps(sign, _mm512_set1_ps(0.5_f32.next_down()));
            _mm512_cvttps_epi32(_mm512_add_ps(a, half))
        };
        shift_nibble(a: I32) -> I32 = _mm512_srli_epi32::<4>(a);
        lookup_lane(table: F32, index: I32) -> F32 = _mm512_permutexvar_ps(index, table);
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves that the processor has AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> __m512 {
        let x: &[f32; 16] = x.first_chunk().expect("sixteen floats");
        // SAFETY: as above; sixteen floats are there.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, x: __m512, out: &mut [f32]) {
        let out: &mut [f32; 16] = out.first_chunk_mut().expect("sixteen floats");
        // SAFETY: as above; sixteen floats are there.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn bits(self, mask: __mmask16) -> u32 {
        u32::from(mask)
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(x) }
    }

    extremes!(smallest_of_each, _mm512_reduce_min_ps);
    extremes!(largest_of_each, _mm512_reduce_max_ps);

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
    fn top_bits(self, bytes: &[u8; 32]) -> u32 {
        // SAFETY: `self` proves that the processor has AVX2; 32 bytes are there.
        unsafe { _mm256_movemask_epi8(_mm256_loadu_si256(bytes.as_ptr().cast())) as u32 }
    }

    #[inline(always)]
    fn store_f16(self, x: __m512, out: &mut [F16Le]) {
        let out: &mut [F16Le; 16] = out.first_chunk_mut().expect("sixteen floats");
        // SAFETY: as above; sixteen floats of two bytes are there.
        unsafe {
            let sixteen = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), sixteen);
        }
    }

    #[inline(always)]
    fn lookup(self, table: &[f32; 16], index: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_permutexvar_ps(index, self.load(table)) }
    }

    #[inline(always)]
    fn store_i32(self, x: __m512i, out: &mut [i32]) {
        let out: &mut [i32; 16] = out.first_chunk_mut().expect("sixteen integers");
        // SAFETY: as above; sixteen integers are there.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), x) }
    }

    #[inline(always)]
    fn load_bits(self, x: &[u32]) -> __m512i {
        let x: &[u32; 16] = x.first_chunk().expect("sixteen integers");
        // SAFETY: as above; sixteen integers are there.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
}
