//! `q4_0`: 32 weights of 4 bits with one scale.
//!
//! Follows `quantize_row_q4_0_ref`, `quantize_row_q4_0_impl`, `dequantize_row_q4_0` and
//! `ggml_vec_dot_q4_0_q8_0_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::blocks32::{mean_square, weigh_run};
use super::dot::{Kind, Levels, Set};
use super::le::F16Le;
use super::packing::{pack_nibbles, unpack_nibbles};
use super::rules::{self, inverse};
use super::runs::{BLOCKS as RUN, runs};
use super::search::Search;

/// 32 weights: `(level - 8) * d`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_0 {
    d: F16Le,
    qs: [u8; 16],
}
assert_layout!(BlockQ4_0);

impl BlockQ4_0 {
    #[inline(always)]
    fn levels(&self) -> [i8; 32] {
        unpack_nibbles(&self.qs).map(|level| level as i8 - 8)
    }
}

impl Block for BlockQ4_0 {
    const TYPE: GgmlType = GgmlType::Q4_0;
    const LARGEST: f32 = F16_MAX * 8.0;

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
                let scales = search.largest(x).map(|v| v / -8.0);
                let scales = scales.map(inverse).into_iter().zip(search.narrow(&scales));
                for ((x, block), (inverse, d)) in x.iter().zip(blocks).zip(scales) {
                    let levels = search.levels(x, 0.0, inverse, 8.5, 15);
                    *block = Self { d, qs: pack_nibbles(&levels) };
                }
            }
            return;
        };
        let sigma2 = mean_square(row);
        for (x, importance, blocks) in runs::<RUN, 32, _>(row, Some(importance), blocks) {
            let weights = &weigh_run(x, importance, sigma2)[..x.len()];
            let (mut levels, mut scales) = ([[0; 32]; RUN], [0.0; RUN]);
            let (levels, scales) = (&mut levels[..x.len()], &mut scales[..x.len()]);
            search.symmetric(x, 8, Some(weights), levels, scales);
            for ((levels, &d), block) in levels.iter().zip(&*scales).zip(blocks) {
                *block = Self { d: F16Le::new(d), qs: pack_nibbles(levels) };
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

impl Levels for BlockQ4_0 {
    const KIND: Kind = Kind::Unsigned { max: 15, center: 8 };

    #[inline(always)]
    fn levels<S: Set>(set: S, run: &[Self], group: usize) -> S::Bytes {
        set.nibbles(&run[group].qs)
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
