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
use super::dot::{Kind, Levels, Set};
use super::grid::{Grid, points::iq2_xxs::POINTS, values};
use super::lattice_groups::{self, Group, LatticeGroups};
use super::le::F16Le;
use super::scales;
use super::search::lattice::{self, Lattice, Refit};
use super::search::{EPSILON, Search};

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
const SEARCH: LatticeGroups<32, 8, 8, 4, 4> = LatticeGroups {
    search: Lattice { tries: 6, step: 0.1, refit: Refit::All },
    even_signs: true,
    fit_first: true,
    epsilon: EPSILON,
    blur: 1.0,
    weight: |_, _| 0.0,
};

impl BlockIq2Xxs {
    #[inline(always)]
    fn pack(groups: &[Option<Group<4, 4>>; 8]) -> Self {
        let Some((d, levels)) = lattice_groups::scales(groups) else {
            return Self::zeroed();
        };
        let groups = std::array::from_fn(|j| {
            let (points, signs) =
                groups[j].map_or(([0; 4], 0), |g| (g.points, lattice::pack_even_signs(&g.signs)));
            let rest = signs | u32::from(levels[j]) << 28;
            [points.map(|point| point as u8), rest.to_le_bytes()]
        });
        Self { d: F16Le::new(d), groups }
    }

    /// Scale less its half step, and signed values, of a group.
    #[inline(always)]
    fn group(&self, j: usize) -> (u8, [[i8; 8]; 4]) {
        let [points, rest] = self.groups[j];
        let rest = u32::from_le_bytes(rest);
        let mut values = [[0; 8]; 4];
        for (k, values) in values.iter_mut().enumerate() {
            let signs = lattice::unpack_even_signs(rest, k);
            *values = lattice::with_signs(&VALUES[usize::from(points[k])], signs);
        }
        ((rest >> 28) as u8, values)
    }
}

impl Block for BlockIq2Xxs {
    const TYPE: GgmlType = GgmlType::IQ2_XXS;
    const LARGEST: f32 = F16_MAX * 15.5 * 0.25 * 43.0;
    const NEEDS_IMPORTANCE: bool = true;

    #[inline(always)]
    fn quantize_row<S: Search>(
        search: S,
        row: &[f32],
        importance: Option<&[f32]>,
        blocks: &mut [Self],
    ) {
        SEARCH.quantize(search, &GRID, row, importance, blocks, Self::pack);
    }

    #[inline(always)]
    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d.get();
        SEARCH.dequantize(out, |j| {
            let (scale, values) = self.group(j);
            (d * (0.5 + f32::from(scale)) * 0.25, bytemuck::cast(values))
        });
    }

    fn is_finite(&self) -> bool {
        self.d.is_finite()
    }
}

impl Levels for BlockIq2Xxs {
    const KIND: Kind = Kind::Signed;

    #[inline(always)]
    fn levels<S: Set>(set: S, run: &[Self], group: usize) -> S::Bytes {
        set.load(bytemuck::cast_ref(&run[0].group(group).1))
    }

    #[inline(always)]
    fn scales<S: Set>(set: S, run: &[Self]) -> S::F32 {
        scales::of_groups(set, run[0].d.get() * 0.125, |j| 2 * (run[0].groups[j][1][3] >> 4) + 1)
    }
}
