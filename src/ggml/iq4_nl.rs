//! `iq4_nl`: 32 weights of 4 bits on uneven levels with one scale.
//!
//! Follows `quantize_iq4_nl`, `dequantize_row_iq4_nl` and `ggml_vec_dot_iq4_nl_q8_0_generic` of
//! llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::block::{Block, F16_MAX, F16Le, GgmlType, Row, Search, assert_layout};
use super::dot::{LevelRange, Levels, Set};
use super::packing::pack_nibbles;
use super::row::BLOCKS as BATCH;
use super::scales;
use super::search;
use super::search::codebook::{self, LevelBatch, ScaleBatch};

/// 32 weights: `VALUES[level] * d`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq4Nl {
    d: F16Le,
    qs: [u8; 16],
}
assert_layout!(BlockIq4Nl);

impl Block for BlockIq4Nl {
    const TYPE: GgmlType = GgmlType::IQ4_NL;
    const LARGEST: f32 = F16_MAX * 127.0;

    #[inline(always)]
    fn quantize_row<S: Search>(search: S, row: Row<'_>, blocks: &mut [Self]) {
        for (x, importance, blocks) in row.batches::<BATCH, 32, _>(blocks) {
            let (mut weights, mut scales, mut levels) =
                ([[0.0; 32]; BATCH], [0.0; BATCH], [[0; 32]; BATCH]);
            let (weights, scales) = (&mut weights[..x.len()], &mut scales[..x.len()]);
            let weights = match importance {
                None => None,
                Some(importance) => {
                    search::weigh_blocks(x, importance, 2.0, weights);
                    Some(&*weights)
                }
            };
            search.run(ScaleBatch { x, weights, scales });
            let mut inverses = [0.0; BATCH];
            for (inverse, &d) in inverses.iter_mut().zip(&*scales) {
                *inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
            }
            search.run(LevelBatch { x, inverses: &inverses, levels: &mut levels });
            for ((levels, &d), block) in levels.iter().zip(&*scales).zip(blocks) {
                *block = Self { d: F16Le::new(d), qs: pack_nibbles(levels) };
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        codebook::dequantize(self.d.get(), &self.qs, out);
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq4Nl {
    const RANGE: LevelRange = LevelRange::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, span: &[Self], group: usize) -> S::Bytes {
        set.lookup(&codebook::VALUES, set.nibbles(&span[group].qs))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, span: &[Self]) -> S::F32 {
        scales::of_blocks(set, span.iter().map(|block| block.d))
    }
}
