//! Products of a tile of rows with many rows of activations: what reading a prompt needs. Rows
//! are unpacked once, rows side by side in the lanes of a vector, and multiplied with all tokens.

use super::products::Products;
use super::unpack::{LEVELS, MINS, OFFSETS, SCALES, Slots, rows_of_tile, unpack};
use super::{ActivationBlock, Inputs, LevelRange, Levels, Scratch, Set};

/// Tokens whose sums are kept in registers at a time, with two vectors of rows.
const TOKENS: usize = 4;
/// Tokens that a span of a tile is multiplied with before the next span is loaded.
const BLOCK: usize = 4 * TOKENS;

/// Writes the products of `count` rows, whole tiles, with each of the inputs:
/// `out[input * count + row]`.
///
/// Several tiles together save reading the inputs anew for each: while a block of them is in the
/// first-level cache, all tiles, which fit the second level, pass by.
#[inline(always)]
pub(super) fn multiply<S: Products, B: Levels>(
    set: S,
    rows: &[u8],
    count: usize,
    inputs: Inputs<'_>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    assert_eq!(out.len(), inputs.numbers.len() * count, "products of {count} rows");
    let shift = if flipped::<S, B>() { 128 } else { 0 };
    let Some(unpacked) = unpack::<S, B>(set, rows, count, shift, &mut scratch.tiles) else {
        return out.fill(0.0);
    };
    let tile = rows_of_tile::<S>();
    for (numbers, out) in inputs.numbers.chunks(BLOCK).zip(out.chunks_mut(BLOCK * count)) {
        for (i, tile_of) in unpacked.tiles().enumerate() {
            let out = out.chunks_exact_mut(count).map(|out| &mut out[i * tile..][..tile]);
            multiply_block::<S, B>(
                set,
                tile_of,
                unpacked.groups,
                Inputs { numbers, ..inputs },
                out,
            );
        }
    }
}

/// Whether levels are stored with 128 added.
const fn flipped<S: Set, B: Levels>() -> bool {
    matches!(B::RANGE, LevelRange::Signed) && S::UNSIGNED_TILES
}

/// Multiplies a tile with up to [`BLOCK`] tokens.
#[inline(always)]
fn multiply_block<'a, S: Products, B: Levels>(
    set: S,
    tile: &[u32],
    groups: usize,
    inputs: Inputs<'_>,
    out: impl Iterator<Item = &'a mut [f32]>,
) {
    let mut sums = [[[[set.wide_zero(); 8]; 2]; TOKENS]; BLOCK / TOKENS];
    for (r, slots) in tile.chunks_exact(2 * Slots::<B>::END * S::ROWS).enumerate() {
        let slots = slots.split_at(Slots::<B>::END * S::ROWS);
        let groups = (groups - 8 * r).min(8);
        let block = |number: u32| &inputs.blocks[number as usize * inputs.stride + r];
        for (numbers, sums) in inputs.numbers.chunks(TOKENS).zip(&mut sums) {
            // The last token stands in for those that are missing: code for fewer tokens was
            // three quarters of all, and took as much of the time to compile.
            let mut tokens = [block(numbers[0]); TOKENS];
            for (i, token) in tokens.iter_mut().enumerate() {
                *token = block(numbers[i.min(numbers.len() - 1)]);
            }
            add_span::<S, B>(set, slots.into(), groups, tokens, sums);
        }
    }
    for (sums, out) in sums.as_flattened().iter().zip(out) {
        for (s, out) in sums.iter().zip(out.chunks_exact_mut(S::ROWS)) {
            let add = |a, b| set.wide_add(a, b);
            let even = add(add(s[0], s[4]), add(s[2], s[6]));
            let odd = add(add(s[1], s[5]), add(s[3], s[7]));
            set.wide_store(add(even, odd), out);
        }
    }
}

/// Adds the products of one span for a few tokens.
#[inline(always)]
fn add_span<S: Products, B: Levels>(
    set: S,
    slots: [&[u32]; 2],
    groups: usize,
    activations: [&ActivationBlock; TOKENS],
    sums: &mut [[[S::WideF32; 8]; 2]; TOKENS],
) {
    let vector = |half: usize, slot: usize| &slots[half][slot * S::ROWS..][..S::ROWS];
    let center = if flipped::<S, B>() { 128 } else { B::RANGE.center() };
    #[expect(clippy::needless_range_loop, reason = "`g` numbers the groups of much else, too")]
    for g in 0..groups {
        let vectors = |half: usize, slot: usize, count: usize| {
            &slots[half][slot * S::ROWS..(slot + count) * S::ROWS]
        };
        let (l, s) = (LEVELS + g * 8, Slots::<B>::SUB_SCALES + g * 2);
        let mut tokens = [&activations[0].levels[g]; TOKENS];
        for (token, a) in tokens.iter_mut().zip(activations) {
            *token = &a.levels[g];
        }
        let products = set.multiply_group::<B, TOKENS>(
            [vectors(0, l, 8), vectors(1, l, 8)],
            if B::SUB_SCALES { [vectors(0, s, 2), vectors(1, s, 2)] } else { [&[], &[]] },
            tokens,
        );
        for half in 0..2 {
            let scales = set.wide_floats(set.wide_load(vector(half, SCALES + g)));
            for t in 0..TOKENS {
                let pair = [activations[t].sums[2 * g], activations[t].sums[2 * g + 1]];
                let mut p = products[half][t];
                if center != 0 {
                    let centers = if B::SUB_SCALES {
                        set.wide_load(vector(half, Slots::<B>::CENTERS + g))
                    } else {
                        set.wide_pair([-center; 2])
                    };
                    p = set.wide_add_pairs(p, centers, set.wide_pair(pair));
                }
                let scale = set.wide_splat(activations[t].scales[g]);
                let sum = &mut sums[t][half][g];
                *sum = set.wide_fused(set.wide_mul(scales, scale), set.wide_to_f32(p), *sum);
                if B::MINS {
                    let offsets = set.wide_floats(set.wide_load(vector(half, OFFSETS + g)));
                    let mins = set.wide_load(vector(half, MINS + g));
                    let zero = set.wide_pair([0; 2]);
                    let m = set.wide_add_pairs(zero, mins, set.wide_pair(pair));
                    *sum = set.wide_fused(set.wide_mul(offsets, scale), set.wide_to_f32(m), *sum);
                }
            }
        }
    }
}
