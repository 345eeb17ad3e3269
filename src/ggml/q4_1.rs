//! `q4_1`: 32 weights of 4 bits with one scale and one minimum.
//!
//! Follows `quantize_row_q4_1_ref`, `quantize_row_q4_1_impl`, `dequantize_row_q4_1` and
//! `ggml_vec_dot_q4_1_q8_1_generic` of llama.cpp.

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::blocks32::{mean_square, weigh_run};
use super::dot::{Kind, Levels, Set};
use super::le::F16Le;
use super::packing::{pack_nibbles, unpack_nibbles};
use super::rules::{self, inverse};
use super::runs::{BLOCKS as RUN, runs};
use super::search::{Affine, AffineSearch, Search, Weights};

/// 32 weights: `level * d + m`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockQ4_1 {
    d: F16Le,
    m: F16Le,
    qs: [u8; 16],
}
assert_layout!(BlockQ4_1);

impl Block for BlockQ4_1 {
    const TYPE: GgmlType = GgmlType::Q4_1;
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
                let (mins, maxs) = search.ranges(x);
                let scales: [f32; rules::RUN] = std::array::from_fn(|i| (maxs[i] - mins[i]) / 15.0);
                let (ds, ms) = (search.narrow(&scales), search.narrow(&mins));
                let inverses = scales.map(inverse);
                for (i, (x, block)) in x.iter().zip(blocks).enumerate() {
                    let levels = search.levels(x, mins[i], inverses[i], 0.5, 15);
                    let (d, m) = (ds[i], ms[i]);
                    *block = Self { d, m, qs: pack_nibbles(&levels) };
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
            search.affine(AffineSearch::weighted(15), x, weights, levels, fits);
            for ((levels, fit), block) in levels.iter().zip(fits).zip(blocks) {
                let (d, m) = (F16Le::new(fit.scale), F16Le::new(-fit.min));
                *block = Self { d, m, qs: pack_nibbles(levels) };
            }
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let (d, m) = (self.d.get(), self.m.get());
        let mut weights = [0.0; 32];
        for (y, level) in weights.iter_mut().zip(unpack_nibbles(&self.qs)) {
            *y = f32::from(level) * d + m;
        }
        out.copy_from_slice(&weights);
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite() && self.m.is_finite()
    }
}

impl Levels for BlockQ4_1 {
    const KIND: Kind = Kind::Unsigned { max: 15, center: 0 };
    const MINS: bool = true;

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
