//! `q5_0`: 32 weights of 5 bits with one scale.
//!
//! Follows `quantize_row_q5_0_ref`, `quantize_row_q5_0_impl`, `dequantize_row_q5_0` and
//! `ggml_vec_dot_q5_0_q8_0_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::blocks32::{mean_square, weigh_run};
use super::dot::{Kind, Levels, Set};
use super::le::F16Le;
use super::packing::{pack_fifth_bits, pack_nibbles, unpack_five_bits};
use super::rules::{self, inverse};
use super::runs::{BLOCKS as RUN, runs};
use super::search::Search;

/// 32 weights: `(level - 16) * d`; `qh` holds the fifth bits.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_0 {
    d: F16Le,
    qh: [u8; 4],
    qs: [u8; 16],
}
assert_layout!(BlockQ5_0);

impl BlockQ5_0 {
    fn new(d: f32, levels: &[u8; 32]) -> Self {
        Self { d: F16Le::new(d), qh: pack_fifth_bits(levels), qs: pack_nibbles(levels) }
    }

    #[inline(always)]
    fn levels(&self) -> [i8; 32] {
        unpack_five_bits(&self.qs, &self.qh).map(|level| level as i8 - 16)
    }
}

impl Block for BlockQ5_0 {
    const TYPE: GgmlType = GgmlType::Q5_0;
    const LARGEST: f32 = F16_MAX * 16.0;

    #[inline(always)]
    fn quantize_row<S: Search>(
        search: S,
        row: &[f32],
        importance: Option<&[f32]>,
        blocks: &mut [Self],
    ) {
        let x = row.as_chunks::<32>().0;
        let Some(importance) = importance else {
            for (x, blocks) in x.chunks(rules::RUN).zip(blocks.chunks_mut(rules::RUN)) {
                let scales = search.largest(x).map(|v| v / -16.0);
                let scales = scales.map(inverse).into_iter().zip(search.narrow(&scales));
                for ((x, block), (inverse, d)) in x.iter().zip(blocks).zip(scales) {
                    let levels = search.levels(x, 0.0, inverse, 16.5, 31);
                    let (qh, qs) = (search.fifth_bits(&levels), pack_nibbles(&levels));
                    *block = Self { d, qh, qs };
                }
            }
            return;
        };
        let sigma2 = mean_square(row);
        for (x, importance, blocks) in runs::<RUN, 32, _>(row, Some(importance), blocks) {
            let weights = &weigh_run(x, importance, sigma2)[..x.len()];
            let (mut levels, mut scales) = ([[0; 32]; RUN], [0.0; RUN]);
            let (levels, scales) = (&mut levels[..x.len()], &mut scales[..x.len()]);
            search.symmetric(x, 16, Some(weights), levels, scales);
            for ((levels, &d), block) in levels.iter().zip(&*scales).zip(blocks) {
                *block = Self::new(d, levels);
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (y, level) in out.iter_mut().zip(self.levels()) {
            *y = f32::from(level) * d;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockQ5_0 {
    const KIND: Kind = Kind::Unsigned { max: 31, center: 16 };

    #[inline(always)]
    fn levels<S: Set>(set: S, run: &[Self], group: usize) -> S::Bytes {
        let Self { qh, qs, .. } = &run[group];
        set.or_above(set.nibbles(qs), set.spread(u32::from_le_bytes(*qh), 16), 0)
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, run: &[Self]) -> S::F32 {
        let mut halves = [0; 8];
        for (half, block) in halves.iter_mut().zip(run) {
            *half = block.d.bits();
        }
        set.widen(halves)
    }
}
