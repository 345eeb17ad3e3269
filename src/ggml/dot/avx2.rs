//! Products with AVX2.

use std::arch::x86_64::*;

mod sums;

use super::products::Products;
use super::{ActivationBlock, Levels, Set};
use crate::simd::{Avx2, instruction};
pub(super) use sums::transpose;
use sums::{fours, pairs, sub_scales, total};

impl Avx2 {
    /// A row of [`Set::dot_two`] with levels by the instructions of `set` and sums of four products by `four`.
    #[inline(always)]
    pub(super) fn dot_groups_by<S: Set<Bytes = __m256i>, B: Levels>(
        self,
        set: S,
        span: &[B],
        groups: usize,
        activations: &ActivationBlock,
        four: impl Fn(__m256i, &[i8; 32]) -> __m256i,
    ) -> __m256i {
        // SAFETY: `self` proves that the processor has AVX2.
        let mut sums = unsafe { [_mm256_setzero_si256(); 8] };
        if B::SUB_SCALES {
            let scales = sub_scales(self, B::sub_scales(span));
            for (g, sum) in sums.iter_mut().enumerate() {
                if g >= groups {
                    break;
                }
                let levels = B::levels(set, span, g);
                *sum = fours(self, B::RANGE, levels, &activations.levels[g], scales[g]);
            }
            total(self, |_| false, sums)
        } else {
            for (g, sum) in sums.iter_mut().enumerate() {
                if g >= groups {
                    break;
                }
                *sum = four(B::levels(set, span, g), &activations.levels[g]);
            }
            total(self, |products| B::RANGE.fits(products), sums)
        }
    }
}

/// The integer, put together in a general register: otherwise the compiler puts its parts together in
/// a vector, by instructions of the one kind that products wait for.
#[inline(always)]
fn in_register(mut x: u64) -> u64 {
    // SAFETY: no instruction at all.
    unsafe {
        std::arch::asm!(
            "/* {0} */",
            inout(reg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    x
}

impl Set for Avx2 {
    type Bytes = __m256i;
    type I32 = __m256i;
    type F32 = __m256;
    type PairI32 = [__m256i; 2];
    type PairF32 = [__m256; 2];
    const ROWS: usize = 8;
    type WideI32 = __m256i;
    type WideF32 = __m256;
    const UNSIGNED_TILES: bool = false;

    instruction! {
        load(from: &[u8; 32]) -> Bytes = _mm256_loadu_si256(from.as_ptr().cast());
        cells(cells: [u64; 4]) -> Bytes = _mm256_setr_epi64x(
            cells[0] as i64,
            cells[1] as i64,
            cells[2] as i64,
            cells[3] as i64,
        );
        halves(low: __m256i, high: __m256i) -> Bytes = _mm256_blend_epi32::<0b1111_0000>(low, high);
        triple(bytes: __m256i) -> Bytes = _mm256_add_epi8(_mm256_add_epi8(bytes, bytes), bytes);
        thirds(bytes: __m256i) -> Bytes = {
            // All ones, which is -1, where a byte is not below a third, and two thirds.
            let (one, two) = (_mm256_set1_epi8(86), _mm256_set1_epi8(171_u8 as i8));
            let one = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, one), bytes);
            let two = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, two), bytes);
            _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_add_epi8(one, two))
        };
        nibbles(from: &[u8; 16]) -> Bytes = {
            let both = _mm256_broadcastsi128_si256(_mm_loadu_si128(from.as_ptr().cast()));
            let shifted = _mm256_srlv_epi32(both, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
            _mm256_and_si256(shifted, _mm256_set1_epi8(15))
        };
        field(bytes: __m256i, shift: u32, mask: u8) -> Bytes = {
            let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32));
            _mm256_and_si256(shifted, _mm256_set1_epi8(mask as i8))
        };
        or_above(a: __m256i, b: __m256i, shift: u32) -> Bytes =
            _mm256_or_si256(a, _mm256_sll_epi16(b, _mm_cvtsi32_si128(shift as i32)));
        lookup(table: &[i8; 16], bytes: __m256i) -> Bytes = {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, bytes)
        };
        // Two bytes at a time: none has a carry.
        scale_halves(bytes: __m256i, scales: &[u8; 16], first: usize) -> Bytes = {
            let scales = _mm256_broadcastsi128_si256(_mm_loadu_si128(scales.as_ptr().cast()));
            let scales = _mm256_and_si256(scales, _mm256_set1_epi8(15));
            // Zero beside each.
            let at = _mm256_set_m128i(_mm_set1_epi16(-0x7fff), _mm_set1_epi16(-0x8000));
            let at = _mm256_add_epi16(at, _mm256_set1_epi16(first as i16));
            _mm256_mullo_epi16(bytes, _mm256_shuffle_epi8(scales, at))
        };
        spread(bits: u32, value: u8) -> Bytes = {
            let index = _mm256_setr_epi64x(
                0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303,
            );
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), index);
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
            _mm256_and_si256(set, _mm256_set1_epi8(value as i8))
        };
        negate(bytes: __m256i, minus: __m256i) -> Bytes =
            _mm256_sub_epi8(_mm256_xor_si256(bytes, minus), minus);
        offset(bytes: __m256i, by: u8) -> Bytes =
            _mm256_add_epi8(bytes, _mm256_set1_epi8(by as i8));
        words(integers: [i8; 16]) -> Bytes =
            _mm256_cvtepi8_epi16(_mm_loadu_si128(integers.as_ptr().cast()));
        scale_words(words: __m256i, by: i16) -> Bytes =
            _mm256_mullo_epi16(words, _mm256_set1_epi16(by));
        weigh_sums(weights: __m256i, activations: &ActivationBlock) -> I32 = _mm256_madd_epi16(
            weights,
            _mm256_loadu_si256(activations.sums.as_ptr().cast()),
        );
        splat(x: f32) -> F32 = _mm256_set1_ps(x);
        load_f32(from: &[f32; 8]) -> F32 = _mm256_loadu_ps(from.as_ptr());
        widen(halves: [u64; 2]) -> F32 = {
            let [low, high] = [in_register(halves[0]), in_register(halves[1])];
            _mm256_cvtph_ps(_mm_set_epi64x(high as i64, low as i64))
        };
        splat_half(half: u16) -> F32 = _mm256_cvtph_ps(_mm_set1_epi16(half as i16));
        half_powers(exponents: u64) -> F32 = {
            let e = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(in_register(exponents) as i64));
            let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(e, _mm256_set1_epi32(1)));
            // Larger where the result is subnormal: for 1, and for 0 half of that.
            let lowest =
                _mm256_add_epi32(_mm256_srai_epi32::<2>(normal), _mm256_set1_epi32(1 << 22));
            _mm256_castsi256_ps(_mm256_max_epi32(normal, lowest))
        };
        integers(integers: [i8; 8]) -> F32 = {
            let bytes = _mm_cvtsi64_si128(i64::from_le_bytes(bytemuck::cast(integers)));
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
        };
        mul(a: __m256, b: __m256) -> F32 = _mm256_mul_ps(a, b);
        bytes_of(x: __m256) -> Bytes = _mm256_castps_si256(x);
        pair_sub(a: [__m256i; 2], b: [__m256i; 2]) -> PairI32 =
            [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])];
        pair_to_f32(x: [__m256i; 2]) -> PairF32 =
            [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])];
        pair_mul(a: [__m256; 2], b: [__m256; 2]) -> PairF32 =
            [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])];
        pair_fused(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> PairF32 =
            [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])];
        wide_load(from: &[u32]) -> WideI32 =
            _mm256_loadu_si256(from.first_chunk::<8>().expect("eight lanes").as_ptr().cast());
        wide_zero() -> WideF32 = _mm256_setzero_ps();
        wide_floats(bits: __m256i) -> WideF32 = _mm256_castsi256_ps(bits);
        wide_splat(x: f32) -> WideF32 = _mm256_set1_ps(x);
        wide_pair(pair: [i16; 2]) -> WideI32 = _mm256_set1_epi32(bytemuck::cast(pair));
        wide_add_pairs(a: __m256i, b: __m256i, c: __m256i) -> WideI32 =
            _mm256_add_epi32(a, _mm256_madd_epi16(b, c));
        wide_to_f32(x: __m256i) -> WideF32 = _mm256_cvtepi32_ps(x);
        wide_add(a: __m256, b: __m256) -> WideF32 = _mm256_add_ps(a, b);
        wide_mul(a: __m256, b: __m256) -> WideF32 = _mm256_mul_ps(a, b);
        wide_fused(a: __m256, b: __m256, c: __m256) -> WideF32 = _mm256_fmadd_ps(a, b, c);
    }

    #[inline(always)]
    fn pair_i32(self, rows: [__m256i; 2]) -> [__m256i; 2] {
        rows
    }

    #[inline(always)]
    fn pair_f32(self, rows: [__m256; 2]) -> [__m256; 2] {
        rows
    }

    #[inline(always)]
    fn sums(self, [[a, b], [c, d]]: [[__m256; 2]; 2]) -> [f32; 4] {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe {
            let halves = |x| _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let quarters = |a, b| {
                _mm_add_ps(
                    _mm_shuffle_ps::<0b01_00_01_00>(a, b),
                    _mm_shuffle_ps::<0b11_10_11_10>(a, b),
                )
            };
            let (ab, cd) = (quarters(halves(a), halves(b)), quarters(halves(c), halves(d)));
            let even = _mm_shuffle_ps::<0b10_00_10_00>(ab, cd);
            let sums = _mm_add_ps(even, _mm_shuffle_ps::<0b11_01_11_01>(ab, cd));
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), sums);
            out
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        // SAFETY: a prefetch faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    fn wide_store(self, x: __m256, to: &mut [f32]) {
        let to: &mut [f32; 8] = to.first_chunk_mut().expect("eight lanes");
        // SAFETY: `self` proves that the processor has AVX2; the store needs no alignment.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), x) }
    }

    #[inline(always)]
    fn interleave(self, rows: [__m256i; 8], to: &mut [u32]) {
        for (q, column) in transpose(self, rows).into_iter().enumerate() {
            let to: &mut [u32; 8] = to[q * Self::ROWS..].first_chunk_mut().expect("eight lanes");
            // SAFETY: `self` proves that the processor has AVX2; the store needs no alignment.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), column) }
        }
    }
}

impl Products for Avx2 {
    #[inline(always)]
    fn dot_two<B: Levels>(
        self,
        [a, b]: [&[B]; 2],
        groups: usize,
        activations: &ActivationBlock,
    ) -> [__m256i; 2] {
        // SAFETY: `self` proves that the processor has AVX2.
        let ones = unsafe { _mm256_set1_epi16(1) };
        let four = |levels, a: &_| fours(self, B::RANGE, levels, a, ones);
        let a = self.dot_groups_by(self, a, groups, activations, four);
        [a, self.dot_groups_by(self, b, groups, activations, four)]
    }

    #[inline(always)]
    fn multiply_group<B: Levels, const T: usize>(
        self,
        levels: [&[u32]; 2],
        sub_scales: [&[u32]; 2],
        activations: [&[i8; 32]; T],
    ) -> [[__m256i; T]; 2] {
        // Vectors whose products are added as 16 bits.
        let steps = match (B::RANGE.fits(16), B::RANGE.fits(8), B::RANGE.fits(4)) {
            (true, ..) if !B::SUB_SCALES => 8,
            (_, true, _) => 4,
            (_, _, true) => 2,
            _ => 1,
        };
        // SAFETY: `self` proves that the processor has AVX2; loads need no alignment, and are of
        // arrays of the size of a vector.
        unsafe {
            let mut total = [[_mm256_setzero_si256(); T]; 2];
            let mut start = 0;
            while start < 8 {
                let mut sums = [[_mm256_setzero_si256(); T]; 2];
                for q in start..start + steps {
                    let w = [
                        self.wide_load(&levels[0][8 * q..8 * q + 8]),
                        self.wide_load(&levels[1][8 * q..8 * q + 8]),
                    ];
                    for t in 0..T {
                        let quad: &[i8; 4] = activations[t][4 * q..].first_chunk().expect("four");
                        let a = _mm256_set1_epi32(i32::from_le_bytes(bytemuck::cast(*quad)));
                        for half in 0..2 {
                            let products = pairs(self, B::RANGE, w[half], a);
                            sums[half][t] = _mm256_add_epi16(sums[half][t], products);
                        }
                    }
                }
                for half in 0..2 {
                    let by = if B::SUB_SCALES {
                        self.wide_load(&sub_scales[half][start / 4 * 8..][..8])
                    } else {
                        _mm256_set1_epi16(1)
                    };
                    for t in 0..T {
                        let sum = _mm256_madd_epi16(sums[half][t], by);
                        total[half][t] = _mm256_add_epi32(total[half][t], sum);
                    }
                }
                start += steps;
            }
            total
        }
    }
}
