//! Levels of four bits for tiles: sixteen rows are put side by side while two levels still share a byte.

use std::arch::x86_64::*;

use crate::ggml::dot::products::Spans;
use crate::ggml::dot::{Levels, Long, LongBytes, Set};
use crate::simd::Vnni;

impl Vnni {
    /// [`Set::unpack_levels`] for types whose levels come in vectors of 64 bytes.
    #[inline(always)]
    pub(super) fn unpack_nibbles<B: Levels>(
        self,
        long: Long,
        spans: &Spans<'_, B>,
        shift: u8,
        to: &mut [u32],
    ) {
        let (vectors, _) = to.as_chunks_mut::<{ Self::ROWS }>();
        for piece in 0..spans.groups() {
            // Where the levels of the low nibbles begin, and of the high ones.
            let [low, high] = match long {
                Long::Halves => [8 * piece, 8 * piece + 4],
                // Two pieces of 16 bytes have two groups.
                Long::Pairs => {
                    let first = piece / 2 * 16 + piece % 2 * 4;
                    [first, first + 8]
                }
            };
            // Not by closures: those may be left functions, compiled without the set's instructions.
            let mut fours = [self.wide_zero_i32(); 4];
            for (k, fours) in fours.iter_mut().enumerate() {
                let mut bytes = [None; 4];
                for (i, bytes) in bytes.iter_mut().enumerate() {
                    *bytes = Some(B::nibbles(spans.row(4 * i + k), piece));
                }
                *fours = self.quarters(bytes);
            }
            for (j, nibbles) in transpose_quarters(self, fours).into_iter().enumerate() {
                let [first, last] = self.split_nibbles(nibbles);
                for (at, nibbles) in [(low + j, first), (high + j, last)] {
                    let mut levels = B::levels_of(self, nibbles);
                    if shift != 0 {
                        // SAFETY: `self` proves that the processor has AVX-512.
                        levels = unsafe { _mm512_add_epi8(levels, _mm512_set1_epi8(shift as i8)) };
                    }
                    // SAFETY: as above; the store is of the sixteen numbers of the array.
                    unsafe { _mm512_storeu_si512(vectors[at].as_mut_ptr().cast(), levels) };
                }
            }
        }
    }
}

/// Four rows of four numbers, in each quarter, to four columns.
#[inline(always)]
fn transpose_quarters(_: Vnni, [a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: the first argument proves that the processor has AVX-512.
    unsafe {
        let (ab0, ab1) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd0, cd1) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab0, cd0),
            _mm512_unpackhi_epi64(ab0, cd0),
            _mm512_unpacklo_epi64(ab1, cd1),
            _mm512_unpackhi_epi64(ab1, cd1),
        ]
    }
}
