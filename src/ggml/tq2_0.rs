//! `tq2_0`: blocks of 256 weights of -1, 0 or 1 times a scale, two bits each.
//!
//! Follows `quantize_row_tq2_0_ref`, `dequantize_row_tq2_0` and
//! `ggml_vec_dot_tq2_0_q8_K_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::packing::{next_level, pack_two_bits};
use super::tq1_0::ternary;

/// 256 weights: `d * (level - 1)`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockTq2_0 {
    qs: [u8; 64],
    d: F16Le,
}
assert_layout!(BlockTq2_0);

impl Block for BlockTq2_0 {
    const TYPE: GgmlType = GgmlType::TQ2_0;
    const LARGEST: f32 = F16_MAX;
    const BY_RULE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(_: S, row: Row<'_>, blocks: &mut [Self]) {
        for (x, block) in row.x.as_chunks::<256>().0.iter().zip(blocks) {
            let (d, levels) = ternary(x);
            *block = Self { qs: pack_two_bits(&levels), d };
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (half, qs) in out.chunks_exact_mut(128).zip(self.qs.as_chunks::<32>().0) {
            let mut qs = *qs;
            for out in half.chunks_exact_mut(32) {
                let mut weights = [0.0; 32];
                for (y, q) in weights.iter_mut().zip(&qs) {
                    *y = f32::from((q & 3) as i8 - 1) * d;
                }
                out.copy_from_slice(&weights);
                next_level::<2>(&mut qs);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockTq2_0 {
    const RANGE: LevelRange = LevelRange::Unsigned { max: 2, center: 1 };

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        let qs = set.load(&span[0].qs.as_chunks::<32>().0[group / 4]);
        set.field(qs, group as u32 % 4 * 2, 3)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        set.splat_half(span[0].d.bits())
    }
}
