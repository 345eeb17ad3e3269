//! `iq2_xxs`: super-blocks of 256 weights of 2 bits, every eight a point of a codebook with an even
//! number of minus signs, in eight groups with a scale each.
//!
//! Follows `quantize_row_iq2_xxs_impl`, `dequantize_row_iq2_xxs` and
//! `ggml_vec_dot_iq2_xxs_q8_K_generic` of llama.cpp, the last with integer sums over a whole
//! super-block.

use std::sync::LazyLock;

use bytemuck::{Pod, Zeroable};

use super::GgmlType;
use super::block::{Block, F16_MAX, assert_layout};
use super::grid::{Grid, points::iq2_xxs::POINTS, values};
use super::le::F16Le;
use super::packing::dot_i8;
use super::q8_k::BlockQ8K;
use super::search::{self, Search, lattice};

/// 256 weights: `d * (scale + 0.5) / 4 * value`. A group's first four bytes are the points of its
/// cells; of the other 32 bits, little-endian, the upper four are its scale and every seven of the
/// rest the signs of a cell.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BlockIq2Xxs {
    d: F16Le,
    groups: [[[u8; 4]; 2]; 8],
}
assert_layout!(BlockIq2Xxs);

static VALUES: [[i8; 8]; POINTS.len()] = values(&POINTS, &[8, 25, 43]);
static GRID: LazyLock<Grid<8>> = LazyLock::new(|| Grid::new(&POINTS, 2));
const TRIES: lattice::Tries = lattice::Tries { count: 6, step: 0.1 };

impl BlockIq2Xxs {
    fn quantize<S: Search>(search: S, x: &[f32; 256], importance: &[f32]) -> Self {
        let mut block = Self::zeroed();
        let sigma2 = search::sum_of_squares(x) / 256.0;
        let mut scales = [0.0; 8];
        for (j, (x, importance)) in
            x.as_chunks::<32>().0.iter().zip(importance.chunks_exact(32)).enumerate()
        {
            let weights = search::weigh(x, importance, sigma2);
            let Some((scale, points, signs)) = fit(search, x, &weights) else { continue };
            scales[j] = scale;
            block.groups[j] = [points, signs.to_le_bytes()];
        }
        let Some((d, levels)) = lattice::odd_scales(&scales, 15) else { return Self::zeroed() };
        block.d = F16Le::new(d);
        for (group, level) in block.groups.iter_mut().zip(levels) {
            group[1][3] |= level << 4;
        }
        block
    }

    /// Scale less its half step, and signed values, of a group.
    #[inline(always)]
    fn group(&self, j: usize) -> (u8, [[i8; 8]; 4]) {
        let [points, rest] = self.groups[j];
        let rest = u32::from_le_bytes(rest);
        let cell = |k: usize| {
            let signs = lattice::unpack_even_signs(rest, k);
            lattice::with_signs(&VALUES[usize::from(points[k])], signs)
        };
        ((rest >> 28) as u8, std::array::from_fn(cell))
    }
}

/// Scale, points and signs of a group; `None` where it is taken for zero.
fn fit<S: Search>(search: S, x: &[f32; 32], weights: &[f32; 32]) -> Option<(f32, [u8; 4], u32)> {
    let (x, mut signs) = lattice::split_even_signs::<32, 4>(x, weights);
    if lattice::top(&x) < search::EPSILON {
        return None;
    }
    // Starts from a scale for levels that are even and may be anything.
    let mut start = [0.0];
    search.positive(&[x], 4, &[*weights], &mut [[0; 32]], &mut start);
    let [start] = start;
    let top = start * 3.0;
    if top <= 0.0 {
        return None;
    }
    let (x, weights): (&[[f32; 8]; 4], _) = (bytemuck::cast_ref(&x), bytemuck::cast_ref(weights));
    let mut fit = lattice::fit(&GRID, x, weights, (start, top), TRIES, lattice::Refit::All);
    if fit.scale < 0.0 {
        fit.scale = -fit.scale;
        signs = signs.map(|s| !s);
    }
    Some((fit.scale, fit.points.map(|p| p as u8), lattice::pack_even_signs(&signs)))
}

impl Block for BlockIq2Xxs {
    const TYPE: GgmlType = GgmlType::IQ2_XXS;
    const LARGEST: f32 = F16_MAX * 15.5 * 0.25 * 43.0;
    const NEEDS_IMPORTANCE: bool = true;
    type Activation = BlockQ8K;

    fn quantize_row<S: Search>(
        search: S,
        row: &[f32],
        importance: Option<&[f32]>,
        blocks: &mut [Self],
    ) {
        let importance = importance.unwrap_or_default();
        let importance = importance.chunks_exact(256);
        for ((x, importance), block) in row.as_chunks::<256>().0.iter().zip(importance).zip(blocks)
        {
            *block = Self::quantize(search, x, importance);
        }
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        for (j, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, values) = self.group(j);
            let scale = d * (0.5 + f32::from(scale)) * 0.25;
            for (y, value) in out.iter_mut().zip(values.as_flattened()) {
                *y = scale * f32::from(*value);
            }
        }
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }

    #[inline(always)]
    fn dot(row: &[Self], activations: &[BlockQ8K]) -> f32 {
        let mut sum = 0.0;
        for (w, a) in row.iter().zip(activations) {
            let mut products = 0;
            for (j, qs) in a.qs.as_chunks::<32>().0.iter().enumerate() {
                let (scale, values) = w.group(j);
                let values: [i8; 32] = bytemuck::cast(values);
                products += (2 * i32::from(scale) + 1) * dot_i8(&values, qs);
            }
            sum += w.d.get() * a.d.get() * products as f32;
        }
        0.125 * sum
    }
}
