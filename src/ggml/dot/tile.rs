//! Products of a tile of rows with many rows of activations: what reading a prompt needs. Rows
//! are unpacked once, rows side by side in the lanes of a vector, and multiplied with all tokens.

use std::marker::PhantomData;
use std::ops::Range;

use crate::ggml::block::Block;

use super::{Kind, Levels, Run, Set, blocks_per_run};

/// Tokens whose sums are kept in registers at a time, with two vectors of rows.
const TOKENS: usize = 4;
/// Tokens that a run of a tile is multiplied with before the next run is loaded.
const BLOCK: usize = 4 * TOKENS;

/// Where the kinds of wide vectors of a run begin in an unpacked tile, and where they end.
struct Slots<B>(PhantomData<B>);

impl<B: Levels> Slots<B> {
    const LEVELS: usize = 0;
    const SCALES: usize = Self::LEVELS + 64;
    const OFFSETS: usize = Self::SCALES + 8;
    const MINS: usize = Self::OFFSETS + if B::MINS { 8 } else { 0 };
    const SUB_SCALES: usize = Self::MINS + if B::MINS { 8 } else { 0 };
    const CENTERS: usize = Self::SUB_SCALES + if B::SUB_SCALES { 16 } else { 0 };
    const END: usize = Self::CENTERS + if B::SUB_SCALES { 8 } else { 0 };
}

/// Room for tiles, kept from one product to the next.
#[derive(Debug, Default)]
pub struct Scratch(Vec<Line>);

impl Scratch {
    fn lines(&mut self, len: usize) -> &mut [u32] {
        if self.0.len() < len.div_ceil(16) {
            self.0.resize(len.div_ceil(16), Line([0; 16]));
        }
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}

/// Rows of activations, by number.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// All rows.
    pub runs: &'a [Run],
    /// Runs from the beginning of one row to that of the next.
    pub stride: usize,
    /// Which rows.
    pub numbers: &'a [u32],
}

/// A cache line.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Rows of a tile: two wide vectors.
pub(super) const fn rows<S: Set>() -> usize {
    2 * S::ROWS
}

/// Writes the products of `count` rows, whole tiles, with each of the inputs:
/// `out[input * count + row]`.
///
/// Several tiles together save reading the inputs anew for each: while a block of them is in the
/// first-level cache, all tiles, which fit the second level, pass by.
#[inline(always)]
pub(super) fn multiply<S: Set, B: Levels>(
    set: S,
    rows: &[u8],
    count: usize,
    inputs: Inputs<'_>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let blocks: &[B] = bytemuck::cast_slice(rows);
    let tile = self::rows::<S>();
    assert!(count > 0 && count.is_multiple_of(tile), "{count} rows in tiles of {tile}");
    assert!(blocks.len().is_multiple_of(count), "{} blocks in {count} rows", blocks.len());
    assert_eq!(out.len(), inputs.numbers.len() * count, "products of {count} rows");
    let columns = blocks.len() / count;
    if columns == 0 {
        return out.fill(0.0);
    }
    let runs = columns.div_ceil(blocks_per_run::<B>());
    let len = runs * tile * Slots::<B>::END;
    let tiles = scratch.lines(len * (count / tile));
    for (blocks, tile) in blocks.chunks_exact(tile * columns).zip(tiles.chunks_exact_mut(len)) {
        unpack(set, blocks, columns, tile);
    }
    for (numbers, out) in inputs.numbers.chunks(BLOCK).zip(out.chunks_mut(BLOCK * count)) {
        for (i, unpacked) in tiles.chunks_exact(len).enumerate() {
            let out = out.chunks_exact_mut(count).map(|out| &mut out[i * tile..][..tile]);
            multiply_block::<S, B>(set, unpacked, columns, Inputs { numbers, ..inputs }, out);
        }
    }
}

/// Unpacks a tile: for each run, the slots of the first vector of rows, then of the second.
#[inline(always)]
fn unpack<S: Set, B: Levels>(set: S, blocks: &[B], columns: usize, tile: &mut [u32]) {
    let size = blocks_per_run::<B>();
    for (r, slots) in tile.chunks_exact_mut(2 * Slots::<B>::END * S::ROWS).enumerate() {
        let range = r * size..columns.min((r + 1) * size);
        for (half, slots) in slots.chunks_exact_mut(Slots::<B>::END * S::ROWS).enumerate() {
            for part in 0..S::ROWS / 8 {
                let first = half * S::ROWS + part * 8;
                let rows = &blocks[first * columns..(first + 8) * columns];
                unpack_run(set, rows, columns, range.clone(), slots, part * 8);
            }
        }
    }
}

/// Unpacks one run of eight rows into lanes `lane ..` of its slots.
#[inline(always)]
fn unpack_run<S: Set, B: Levels>(
    set: S,
    rows: &[B],
    columns: usize,
    range: Range<usize>,
    slots: &mut [u32],
    lane: usize,
) {
    let size = blocks_per_run::<B>();
    for row in rows.chunks_exact(columns) {
        // The same run of the next tile, from memory while this tile is unpacked.
        let next = row[range.start..].as_ptr().wrapping_add(self::rows::<S>() * columns);
        for line in (0..range.len() * size_of::<B>()).step_by(64) {
            set.prefetch(next.cast::<u8>().wrapping_add(line));
        }
    }
    let (mut store, mut padded) = ([[B::zeroed(); 8]; 8], false);
    if range.len() < size {
        padded = true;
        for (row, to) in rows.chunks_exact(columns).zip(&mut store) {
            *to = whole(&row[range.clone()]);
        }
    }
    let run = |row: usize| {
        if padded { &store[row][..size] } else { &rows[row * columns + range.start..][..size] }
    };
    for g in 0..8 {
        let mut levels = [set.spread(0, 0); 8];
        for (row, levels) in levels.iter_mut().enumerate() {
            *levels = B::levels(set, run(row), g);
            if flipped::<S, B>() {
                *levels = set.flip(*levels);
            }
        }
        set.interleave(levels, &mut slots[(Slots::<B>::LEVELS + g * 8) * S::ROWS + lane..]);
    }
    for row in 0..8 {
        let blocks = run(row);
        let slots = &mut slots[lane + row..];
        let mut put = |slot: usize, bits: u32| slots[slot * S::ROWS] = bits;
        let mut floats = [0.0; 8];
        set.store_f32(B::scales(set, blocks), &mut floats);
        for (g, scale) in floats.into_iter().enumerate() {
            put(Slots::<B>::SCALES + g, scale.to_bits());
        }
        if B::SUB_SCALES {
            let center = B::KIND.center();
            for (g, &[a, b]) in B::sub_scales(blocks).as_chunks().0.iter().enumerate() {
                let (a, b) = (i16::from(a), i16::from(b));
                put(Slots::<B>::SUB_SCALES + 2 * g, pair(a, a));
                put(Slots::<B>::SUB_SCALES + 2 * g + 1, pair(b, b));
                put(Slots::<B>::CENTERS + g, pair(-center * a, -center * b));
            }
        }
        if B::MINS {
            set.store_f32(B::offsets(set, blocks), &mut floats);
            for (g, offset) in floats.into_iter().enumerate() {
                put(Slots::<B>::OFFSETS + g, offset.to_bits());
            }
            for (g, &[a, b]) in B::mins(blocks).as_chunks().0.iter().enumerate() {
                put(Slots::<B>::MINS + g, pair(i16::from(a), i16::from(b)));
            }
        }
    }
}

/// Whether levels are stored with 128 added.
const fn flipped<S: Set, B: Levels>() -> bool {
    matches!(B::KIND, Kind::Signed) && S::UNSIGNED_TILES
}

/// A run that begins with `blocks`, fewer than it needs, and is zero beyond.
#[inline(always)]
fn whole<B: Block>(blocks: &[B]) -> [B; 8] {
    let mut run = [B::zeroed(); 8];
    run[..blocks.len()].copy_from_slice(blocks);
    run
}

fn pair(low: i16, high: i16) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}

/// Multiplies a tile with up to [`BLOCK`] tokens.
#[inline(always)]
fn multiply_block<'a, S: Set, B: Levels>(
    set: S,
    tile: &[u32],
    columns: usize,
    inputs: Inputs<'_>,
    out: impl Iterator<Item = &'a mut [f32]>,
) {
    let mut sums = [[[[set.wide_zero(); 8]; 2]; TOKENS]; BLOCK / TOKENS];
    let groups = columns * B::TYPE.block_size() / 32;
    for (r, slots) in tile.chunks_exact(2 * Slots::<B>::END * S::ROWS).enumerate() {
        let slots = slots.split_at(Slots::<B>::END * S::ROWS);
        let groups = (groups - 8 * r).min(8);
        let run = |number: u32| &inputs.runs[number as usize * inputs.stride + r];
        for (numbers, sums) in inputs.numbers.chunks(TOKENS).zip(&mut sums) {
            // The last token stands in for those that are missing: code for fewer tokens was
            // three quarters of all, and took as much of the time to compile.
            let mut tokens = [run(numbers[0]); TOKENS];
            for (i, token) in tokens.iter_mut().enumerate() {
                *token = run(numbers[i.min(numbers.len() - 1)]);
            }
            add_run::<S, B>(set, slots.into(), groups, tokens, sums);
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

/// Adds the products of one run for a few tokens.
#[inline(always)]
fn add_run<S: Set, B: Levels>(
    set: S,
    slots: [&[u32]; 2],
    groups: usize,
    activations: [&Run; TOKENS],
    sums: &mut [[[S::WideF32; 8]; 2]; TOKENS],
) {
    let vector = |half: usize, slot: usize| &slots[half][slot * S::ROWS..][..S::ROWS];
    let center = if flipped::<S, B>() { 128 } else { B::KIND.center() };
    #[expect(clippy::needless_range_loop, reason = "`g` numbers the groups of much else, too")]
    for g in 0..groups {
        let vectors = |half: usize, slot: usize, count: usize| {
            &slots[half][slot * S::ROWS..(slot + count) * S::ROWS]
        };
        let (l, s) = (Slots::<B>::LEVELS + g * 8, Slots::<B>::SUB_SCALES + g * 2);
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
            let scales = set.wide_floats(set.wide_load(vector(half, Slots::<B>::SCALES + g)));
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
                    let offsets =
                        set.wide_floats(set.wide_load(vector(half, Slots::<B>::OFFSETS + g)));
                    let mins = set.wide_load(vector(half, Slots::<B>::MINS + g));
                    let zero = set.wide_pair([0; 2]);
                    let m = set.wide_add_pairs(zero, mins, set.wide_pair(pair));
                    *sum = set.wide_fused(set.wide_mul(offsets, scale), set.wide_to_f32(m), *sum);
                }
            }
        }
    }
}
