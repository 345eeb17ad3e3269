//! Products with AVX-512 and VNNI, whose one instruction multiplies four levels and adds them up.

use std::arch::x86_64::*;

mod long;
mod nibbles;

use super::avx2::transpose;
use super::products::{Products, Spans, unpack_levels};
use super::{ActivationBlock, LevelRange, Levels, Long, Set};
use crate::simd::{Vnni, instruction};

/// Methods that are those of AVX2.
macro_rules! as_avx2 {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $result:ident;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $ty),*) -> Self::$result {
                self.avx2().$name($($arg),*)
            }
        )*
    };
}

impl Vnni {
    /// A row of [`Set::dot_two`].
    #[inline(always)]
    fn dot_groups<B: Levels>(
        self,
        span: &[B],
        groups: usize,
        activations: &ActivationBlock,
    ) -> __m256i {
        self.avx2().dot_groups_by(self, span, groups, activations, |levels, a| {
            // SAFETY: `self` proves that the processor has VNNI; the load needs no alignment.
            unsafe {
                let (zero, a) = (_mm256_setzero_si256(), _mm256_loadu_si256(a.as_ptr().cast()));
                match B::RANGE {
                    LevelRange::Unsigned { .. } => _mm256_dpbusd_epi32(zero, levels, a),
                    LevelRange::Signed => _mm256_dpbusd_epi32(
                        zero,
                        _mm256_abs_epi8(levels),
                        _mm256_sign_epi8(a, levels),
                    ),
                }
            }
        })
    }
}

impl Set for Vnni {
    type Bytes = __m256i;
    type I32 = __m256i;
    type F32 = __m256;
    type PairI32 = __m512i;
    type PairF32 = __m512;
    const ROWS: usize = 16;
    type WideI32 = __m512i;
    type WideF32 = __m512;
    const UNSIGNED_TILES: bool = true;

    as_avx2! {
        load(from: &[u8; 32]) -> Bytes;
        cells(cells: [u64; 4]) -> Bytes;
        halves(low: __m256i, high: __m256i) -> Bytes;
        triple(bytes: __m256i) -> Bytes;
        thirds(bytes: __m256i) -> Bytes;
        nibbles(from: &[u8; 16]) -> Bytes;
        field(bytes: __m256i, shift: u32, mask: u8) -> Bytes;
        or_above(a: __m256i, b: __m256i, shift: u32) -> Bytes;
        lookup(table: &[i8; 16], bytes: __m256i) -> Bytes;
        scale_halves(bytes: __m256i, scales: &[u8; 16], first: usize) -> Bytes;
        negate(bytes: __m256i, minus: __m256i) -> Bytes;
        offset(bytes: __m256i, by: u8) -> Bytes;
        words(integers: [i8; 16]) -> Bytes;
        scale_words(words: __m256i, by: i16) -> Bytes;
        weigh_sums(weights: __m256i, activations: &ActivationBlock) -> I32;
        splat(x: f32) -> F32;
        load_f32(from: &[f32; 8]) -> F32;
        widen(halves: [u64; 2]) -> F32;
        splat_half(half: u16) -> F32;
        half_powers(exponents: u64) -> F32;
        integers(integers: [i8; 8]) -> F32;
        mul(a: __m256, b: __m256) -> F32;
        bytes_of(x: __m256) -> Bytes;
    }

    instruction! {
        spread(bits: u32, value: u8) -> Bytes =
            _mm256_maskz_set1_epi8(bits, value as i8);
        pair_i32(rows: [__m256i; 2]) -> PairI32 =
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(rows[0]), rows[1]);
        pair_f32(rows: [__m256; 2]) -> PairF32 =
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(rows[0]), rows[1]);
        pair_sub(a: __m512i, b: __m512i) -> PairI32 = _mm512_sub_epi32(a, b);
        pair_to_f32(x: __m512i) -> PairF32 = _mm512_cvtepi32_ps(x);
        pair_mul(a: __m512, b: __m512) -> PairF32 = _mm512_mul_ps(a, b);
        pair_fused(a: __m512, b: __m512, c: __m512) -> PairF32 = _mm512_fmadd_ps(a, b, c);
        wide_load(from: &[u32]) -> WideI32 =
            _mm512_loadu_si512(from.first_chunk::<16>().expect("16 lanes").as_ptr().cast());
        wide_zero() -> WideF32 = _mm512_setzero_ps();
        wide_floats(bits: __m512i) -> WideF32 = _mm512_castsi512_ps(bits);
        wide_splat(x: f32) -> WideF32 = _mm512_set1_ps(x);
        wide_pair(pair: [i16; 2]) -> WideI32 = _mm512_set1_epi32(bytemuck::cast(pair));
        wide_add_pairs(a: __m512i, b: __m512i, c: __m512i) -> WideI32 =
            _mm512_dpwssd_epi32(a, b, c);
        wide_to_f32(x: __m512i) -> WideF32 = _mm512_cvtepi32_ps(x);
        wide_add(a: __m512, b: __m512) -> WideF32 = _mm512_add_ps(a, b);
        wide_mul(a: __m512, b: __m512) -> WideF32 = _mm512_mul_ps(a, b);
        wide_fused(a: __m512, b: __m512, c: __m512) -> WideF32 = _mm512_fmadd_ps(a, b, c);
    }

    // Gathered: entry by entry, rows of iq3_s took three times as long. Of cells of eight bytes a gather
    // has four, and took a third longer than entry by entry.
    #[inline(always)]
    fn half_cells_at<const N: usize>(self, table: &[u32; N], low: &[u8; 8], high: u8) -> __m256i {
        assert!(N >= 512 || N >= 256 && high == 0, "indices are beyond the table of {N}");
        // SAFETY: `self` proves that the processor has AVX2; a byte is below 256, and below 512 with
        // a bit above; the load is of eight bytes.
        unsafe {
            let low = _mm256_cvtepu8_epi32(_mm_loadl_epi64(low.as_ptr().cast()));
            let high = _mm256_sllv_epi32(
                _mm256_set1_epi32(i32::from(high)),
                _mm256_setr_epi32(8, 7, 6, 5, 4, 3, 2, 1),
            );
            let high = _mm256_and_si256(high, _mm256_set1_epi32(256));
            _mm256_i32gather_epi32::<4>(table.as_ptr().cast(), _mm256_or_si256(low, high))
        }
    }

    #[inline(always)]
    fn sums(self, [ab, cd]: [__m512; 2]) -> [f32; 4] {
        // SAFETY: `self` proves that the processor has AVX-512; the store is of four floats.
        unsafe {
            // Four sums of each row.
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd);
            let sums = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd));
            let sums = _mm512_add_ps(sums, _mm512_permute_ps::<0b01_00_11_10>(sums));
            let sums = _mm512_add_ps(sums, _mm512_permute_ps::<0b10_11_00_01>(sums));
            let first = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
            let sums = _mm512_permutexvar_ps(first, sums);
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), _mm512_castps512_ps128(sums));
            out
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        self.avx2().prefetch(at);
    }

    #[inline(always)]
    fn wide_store(self, x: __m512, to: &mut [f32]) {
        let to: &mut [f32; 16] = to.first_chunk_mut().expect("16 lanes");
        // SAFETY: `self` proves that the processor has AVX-512; the store needs no alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn interleave(self, rows: [__m256i; 8], to: &mut [u32]) {
        for (q, column) in transpose(self.avx2(), rows).into_iter().enumerate() {
            let to: &mut [u32; 8] = to[q * Self::ROWS..].first_chunk_mut().expect("eight lanes");
            // SAFETY: `self` proves that the processor has AVX2; the store needs no alignment.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), column) }
        }
    }
}

impl Products for Vnni {
    #[inline(always)]
    fn dot_two<B: Levels>(
        self,
        [a, b]: [&[B]; 2],
        groups: usize,
        activations: &ActivationBlock,
    ) -> __m512i {
        match B::LONG {
            Some(Long::Halves) => self.sums_by_halves([a, b], groups, activations),
            Some(Long::Pairs) if groups == 8 => self.sums_by_pairs([a, b], activations),
            _ => {
                let a = self.dot_groups(a, groups, activations);
                self.pair_i32([a, self.dot_groups(b, groups, activations)])
            }
        }
    }

    #[inline(always)]
    fn unpack_levels<B: Levels>(self, spans: &Spans<'_, B>, shift: u8, to: &mut [u32]) {
        match B::LONG {
            Some(long) => self.unpack_nibbles(long, spans, shift, to),
            None => unpack_levels(self, spans, shift, to),
        }
    }

    #[inline(always)]
    fn multiply_group<B: Levels, const T: usize>(
        self,
        levels: [&[u32]; 2],
        sub_scales: [&[u32]; 2],
        activations: [&[i8; 32]; T],
    ) -> [[__m512i; T]; 2] {
        // SAFETY: `self` proves that the processor has AVX-512 and VNNI.
        unsafe {
            let mut total = [[_mm512_setzero_si512(); T]; 2];
            for q in 0..8 {
                let w = [
                    self.wide_load(&levels[0][16 * q..16 * q + 16]),
                    self.wide_load(&levels[1][16 * q..16 * q + 16]),
                ];
                for t in 0..T {
                    let quad: &[i8; 4] = activations[t][4 * q..].first_chunk().expect("four");
                    let a = _mm512_set1_epi32(i32::from_le_bytes(bytemuck::cast(*quad)));
                    for half in 0..2 {
                        let sum = &mut total[half][t];
                        *sum = if B::SUB_SCALES {
                            let by = self.wide_load(&sub_scales[half][q / 4 * 16..][..16]);
                            let pairs = _mm512_maddubs_epi16(w[half], a);
                            _mm512_dpwssd_epi32(*sum, pairs, by)
                        } else {
                            _mm512_dpbusd_epi32(*sum, w[half], a)
                        };
                    }
                }
            }
            total
        }
    }
}
