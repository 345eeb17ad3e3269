//! The product of a tile of rows with some tiles of tokens: AMX multiplies, AVX-512 scales.

use std::arch::x86_64::*;

use super::gather::TokenTile;
use super::tiles::{ROWS, Sums, Tiles};
use crate::ggml::dot::Set;
use crate::ggml::dot::unpack::{LEVELS, MINS, OFFSETS, SCALES};
use crate::simd::Vnni;

/// Spans whose sums are kept before they are scaled, so that totals are seldom loaded and stored.
const CHUNK: usize = 4;

/// A float for each row of weights and token.
type Totals = [[f32; ROWS]; ROWS];

/// What is computed for two tiles of tokens and two of rows.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Accumulators {
    /// By tokens, rows and span.
    sums: [[[Sums; CHUNK]; 2]; 2],
    /// By place of a group in its span, tokens and rows.
    totals: [[[Totals; 2]; 2]; 8],
}

/// Twice 16 rows of weights, unpacked.
#[derive(Clone, Copy)]
pub struct UnpackedRows<'a> {
    pub words: &'a [[u32; ROWS]],
    /// Slots of a span of 16 rows.
    pub end: usize,
    /// Groups of a row.
    pub groups: usize,
}

impl<'a> UnpackedRows<'a> {
    /// The slots of a span, of the first or last 16 rows.
    #[inline(always)]
    fn slots(self, span: usize, half: usize) -> &'a [[u32; ROWS]] {
        &self.words[(2 * span + half) * self.end..][..self.end]
    }

    /// The levels of a group.
    #[inline(always)]
    fn levels(self, span: usize, half: usize, group: usize) -> &'a [[u32; ROWS]; 8] {
        self.slots(span, half)[LEVELS + 8 * group..].first_chunk().expect("eight vectors")
    }
}

/// Multiplies rows with `N` tiles of tokens.
#[inline(always)]
pub fn multiply_tile<'a, const OFFSET: bool, const N: usize>(
    set: Vnni,
    tiles: &Tiles,
    rows: UnpackedRows<'_>,
    activations: &[TokenTile],
    tokens: usize,
    accumulators: &mut Accumulators,
    out: impl Iterator<Item = &'a mut [f32]>,
) {
    let spans = rows.groups.div_ceil(8);
    for g in 0..rows.groups.min(8) {
        // The last span may end before this group.
        let of_group = activations[g * spans * N..].as_chunks::<N>().0;
        let of_group = &of_group[..(rows.groups - g).div_ceil(8)];
        for (c, chunk) in of_group.chunks(CHUNK).enumerate() {
            let first = c * CHUNK;
            for (k, activations) in chunk.iter().enumerate() {
                let levels = [0, 1].map(|half| rows.levels(first + k, half, g));
                multiply_group(tiles, activations, levels, &mut accumulators.sums, k);
            }
            match chunk.len() {
                1 => scale::<OFFSET, N, 1>(set, rows, g, first, chunk, tokens, accumulators),
                2 => scale::<OFFSET, N, 2>(set, rows, g, first, chunk, tokens, accumulators),
                3 => scale::<OFFSET, N, 3>(set, rows, g, first, chunk, tokens, accumulators),
                _ => scale::<OFFSET, N, CHUNK>(set, rows, g, first, chunk, tokens, accumulators),
            }
        }
    }
    let totals = &accumulators.totals;
    for (i, out) in out.enumerate() {
        let (n, t) = (i / tokens, i % tokens);
        for (half, out) in out.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            let total = |g: usize| match g < rows.groups {
                true => load(set, &totals[g][n][half][t]),
                false => set.wide_zero(),
            };
            let add = |a, b| set.wide_add(a, b);
            let even = add(add(total(0), total(4)), add(total(2), total(6)));
            let odd = add(add(total(1), total(5)), add(total(3), total(7)));
            set.wide_store(add(even, odd), out);
        }
    }
}

/// Sums of the products of a group, as those of the `k`-th span.
#[inline(always)]
fn multiply_group<const N: usize>(
    tiles: &Tiles,
    activations: &[TokenTile; N],
    levels: [&[[u32; ROWS]; 8]; 2],
    sums: &mut [[[Sums; CHUNK]; 2]; 2],
    k: usize,
) {
    let [[a, b], [c, d]] = sums;
    let first = [&mut a[k], &mut b[k]];
    match activations.as_slice() {
        [one] => tiles.multiply(&one.levels, levels, first),
        [one, two, ..] => {
            let second = [&mut c[k], &mut d[k]];
            tiles.multiply_two([&one.levels, &two.levels], levels, [first, second]);
        }
        [] => {}
    }
}

/// Adds the scaled sums of a group of `K` spans from the span `first` on to the totals of its place,
/// or has them begin with these.
#[inline(always)]
fn scale<const OFFSET: bool, const N: usize, const K: usize>(
    set: Vnni,
    rows: UnpackedRows<'_>,
    g: usize,
    first: usize,
    activations: &[[TokenTile; N]],
    tokens: usize,
    accumulators: &mut Accumulators,
) {
    let activations: &[[TokenTile; N]; K] = activations.first_chunk().expect("as many spans");
    #[expect(clippy::needless_range_loop, reason = "`n` numbers the sums and totals, too")]
    for n in 0..N {
        for half in 0..2 {
            let sums: &[Sums; K] =
                accumulators.sums[n][half].first_chunk().expect("at most a chunk");
            let (mut scales, zero) = ([set.wide_zero(); K], set.wide_pair([0; 2]));
            let (mut offsets, mut mins) = (scales, [zero; K]);
            for k in 0..K {
                let slots = rows.slots(first + k, half);
                scales[k] = set.wide_floats(set.wide_load(&slots[SCALES + g]));
                if OFFSET {
                    offsets[k] = set.wide_floats(set.wide_load(&slots[OFFSETS + g]));
                    mins[k] = set.wide_load(&slots[MINS + g]);
                }
            }
            let totals = &mut accumulators.totals[g][n][half];
            for (t, total) in totals[..tokens].iter_mut().enumerate() {
                let mut sum = if first == 0 { set.wide_zero() } else { load(set, total) };
                for k in 0..K {
                    let tile = &activations[k][n];
                    let scale = set.wide_splat(tile.scales[t]);
                    let products =
                        set.wide_to_f32(
                            set.wide_load(bytemuck::cast_ref::<_, [u32; ROWS]>(&sums[k][t])),
                        );
                    sum = set.wide_fused(set.wide_mul(scales[k], scale), products, sum);
                    if OFFSET {
                        let m = set.wide_add_pairs(zero, mins[k], set.wide_pair(tile.sums[t]));
                        let m = set.wide_to_f32(m);
                        sum = set.wide_fused(set.wide_mul(offsets[k], scale), m, sum);
                    }
                }
                set.wide_store(sum, total);
            }
        }
    }
}

#[inline(always)]
fn load(set: Vnni, from: &[f32; ROWS]) -> __m512 {
    set.wide_floats(set.wide_load(bytemuck::cast_ref::<_, [u32; ROWS]>(from)))
}
