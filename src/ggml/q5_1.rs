//! `q5_1`: 32 weights of 5 bits with one scale and one minimum.
//!
//! Follows `quantize_row_q5_1_ref`, `quantize_row_q5_1_impl`, `dequantize_row_q5_1` and
//! `ggml_vec_dot_q5_1_q8_1_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::blocks32::{mean_square, weigh_run};
use super::dot::{Kind, Levels, Set};
use super::le::F16Le;
use super::packing::{pack_fifth_bits, pack_nibbles, unpack_five_bits};
use super::rules::{self, inverse};
use super::runs::{BLOCKS as RUN, runs};
use super::search::{Affine, AffineSearch, Search, Weights};

/// 32 weights: `level * d + m`; `qh` holds the fifth bits.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ5_1 {
    d: F16Le,
    m: F16Le,
    qh: [u8; 4],
    qs: [u8; 16],
}
assert_layout!(BlockQ5_1);

impl BlockQ5_1 {
    fn new(d: f32, m: f32, levels: &[u8; 32]) -> Self {
        let (qh, qs) = (pack_fifth_bits(levels), pack_nibbles(levels));
        Self { d: F16Le::new(d), m: F16Le::new(m), qh, qs }
    }
}

impl Block for BlockQ5_1 {
    const TYPE: GgmlType = GgmlType::Q5_1;
    const LARGEST: f32 = F16_MAX * 32.0;

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
                let (mins, maxs) = search.ranges(x);
                let scales: [f32; rules::RUN] = std::array::from_fn(|i| (maxs[i] - mins[i]) / 31.0);
                let (ds, ms) = (search.narrow(&scales), search.narrow(&mins));
                let inverses = scales.map(inverse);
                for (i, (x, block)) in x.iter().zip(blocks).enumerate() {
                    let levels = search.levels(x, mins[i], inverses[i], 0.5, 31);
                    let (qh, qs) = (search.fifth_bits(&levels), pack_nibbles(&levels));
                    *block = Self { d: ds[i], m: ms[i], qh, qs };
                }
            }
            return;
        };
        let sigma2 = mean_square(row);
        for (x, importance, blocks) in runs::<RUN, 32, _>(row, Some(importance), blocks) {
            let weights = &weigh_run(x, importance, sigma2)[..x.len()];
            let (mut levels, mut fits) = ([[0; 32]; RUN], [Affine::default(); RUN]);
            let (levels, fits) = (&mut levels[..x.len()], &mut fits[..x.len()]);
            let weights = Weights::Given(weights);
            search.affine(AffineSearch::weighted(31), x, weights, levels, fits);
            for ((levels, fit), block) in levels.iter().zip(fits).zip(blocks) {
                *block = Self::new(fit.scale, -fit.min, levels);
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, m) = (self.d.get(), self.m.get());
        for (y, level) in out.iter_mut().zip(unpack_five_bits(&self.qs, &self.qh)) {
            *y = f32::from(level) * d + m;
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.m.is_finite()
    }
}

impl Levels for BlockQ5_1 {
    const KIND: Kind = Kind::Unsigned { max: 31, center: 0 };
    const MINS: bool = true;

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

    #[inline(always)]
    fn mins(_: &[Self]) -> [i8; 16] {
        [1; 16]
    }

    #[inline(always)]
    fn offsets<S: Set>(set: S, run: &[Self]) -> S::F32 {
        let mut halves = [0; 8];
        for (half, block) in halves.iter_mut().zip(run) {
            *half = block.m.bits();
        }
        set.widen(halves)
    }
}
