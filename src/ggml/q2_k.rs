//! `q2_K`: super-blocks of 256 weights of 2 bits in sixteen sub-blocks with a scale and a minimum
//! each.
//!
//! Follows `quantize_row_q2_K_ref`, `quantize_row_q2_K_impl`, `dequantize_row_q2_K` and
//! `ggml_vec_dot_q2_K_q8_K_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::affine_sub_blocks::{AffineSubBlocks, Scales};
use super::arrays::map;
use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::packing::{next_level, pack_two_bits};
use super::search::{AffineSearch, Deviation, ErrorWeights, Steps};

/// 256 weights: `d * scale * level - dmin * min`; byte `j` of `scales` holds the scale of sub-block
/// `j` in its low nibble and the minimum in its high one.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ2K {
    scales: [u8; 16],
    qs: [u8; 64],
    d: F16Le,
    dmin: F16Le,
}
assert_layout!(BlockQ2K);

const SEARCH: AffineSubBlocks<16, 16> = AffineSubBlocks {
    search: AffineSearch {
        max: 3,
        steps: Steps { first: -0.5, step: 0.1, count: 15 },
        error: Deviation::Absolute,
        guarded: false,
    },
    weights: ErrorWeights::Magnitude,
    scale_max: 15,
    scale_cap: u8::MAX,
    weighted_scale_cap: u8::MAX,
    blur: 1.0,
};

impl BlockQ2K {
    #[inline(always)]
    fn new(x: &[f32; 256], found: &Scales<16>, mut levels: [u8; 256]) -> Self {
        let (d, dmin) = (F16Le::new(found.d), F16Le::new(found.dmin));
        let mut scales = found.scales;
        for (scale, min) in scales.iter_mut().zip(found.mins) {
            *scale |= min << 4;
        }
        let (stored_scales, stored_mins) = (map(scales, |s| s & 15), map(scales, |s| s >> 4));
        SEARCH.requantize(x, (d, stored_scales), (dmin, stored_mins), &mut levels);
        Self { scales, qs: pack_two_bits(&levels), d, dmin }
    }
}

impl Block for BlockQ2K {
    const TYPE: GgmlType = GgmlType::Q2_K;
    const LARGEST: f32 = F16_MAX * 15.0 * 3.0;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        SEARCH.quantize(search, row, blocks, Self::new);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, dmin) = (self.d.get(), self.dmin.get());
        let scales = map(self.scales, |scale| d * f32::from(scale & 15));
        let mins = map(self.scales, |scale| dmin * f32::from(scale >> 4));
        let mut sub_blocks = scales.iter().zip(&mins);
        for (half, qs) in out.chunks_exact_mut(128).zip(self.qs.as_chunks::<32>().0) {
            let mut qs = *qs;
            for out in half.chunks_exact_mut(32) {
                let mut weights = [0.0; 32];
                let parts = weights.as_chunks_mut::<16>().0.iter_mut().zip(qs.as_chunks::<16>().0);
                for ((weights, qs), (scale, min)) in parts.zip(&mut sub_blocks) {
                    for (y, q) in weights.iter_mut().zip(qs) {
                        *y = scale * f32::from(q & 3) - min;
                    }
                }
                out.copy_from_slice(&weights);
                next_level::<2>(&mut qs);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.dmin.is_finite()
    }
}

impl Levels for BlockQ2K {
    // Levels times sub-scales, as both are small.
    const RANGE: LevelRange = LevelRange::Unsigned { max: 3 * 15, center: 0 };
    const MINS: bool = true;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let qs = set.load(&span[0].qs.as_chunks::<32>().0[group / 4]);
        let levels = set.field(qs, group as u32 % 4 * 2, 3);
        set.scale_halves(levels, &span[0].scales, 2 * group)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.splat_half(span[0].d.bits())
    }

    #[inline(always)]
    fn mins(span: &[Self]) -> [i8; 16] {
        let mut mins = [0; 16];
        for (min, packed) in mins.iter_mut().zip(span[0].scales) {
            *min = (packed >> 4) as i8;
        }
        mins
    }

    #[inline(always)]
    fn offsets<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.splat_half(span[0].dmin.bits() ^ 0x8000)
    }
}
