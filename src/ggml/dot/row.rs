//! Products of single rows: what decoding needs, where each weight is read for one token.
//!
//! Tried, by tokens of the 20b in turns, on a processor with AMX: asking for 512 bytes ahead 7% slower,
//! 1536 or 2048 1% faster (and slower on Emerald Rapids), 3072 the same, 4096 3% slower, not asking 22%
//! slower; into the second-level cache only 3% slower, and from there into the first the same; the
//! first pages of a task at once the same. Instructions that only one port takes (shuffles, inserts)
//! were what rows of MXFP4 and of blocks of 32 waited for in a cache: scales put together in general
//! registers gave q4_0 half again as much, q5_0 a third, in memory little of that; mxfp4's by a
//! permutation of bytes took 3% longer, five bits by masks of AVX-512 a tenth.

use super::levels::blocks_per_span;
use super::products::Products;
use super::{ActivationBlock, Levels};
use crate::simd::Portable;

/// Places of the weights that are read in turns: memory gives more to several streams of addresses.
/// Tokens of the 20b in turns on two threads of Emerald Rapids: mxfp4 at 16.1 GB/s with two streams,
/// 17.1 with four, q8_0 at 19.6 and 21.1. Eight were slower.
const STREAMS: usize = 4;

/// Bytes from what is multiplied to what is asked for, in each stream; the processor's own look-ahead
/// ends with a page. 512 and 2048 were slower by some percent, 4096 by as much as two streams.
const AHEAD: usize = 1024;

/// Writes the products of `out.len()` rows with one row of activations.
#[inline(always)]
pub(super) fn dot_rows<S: Products, B: Levels>(
    set: S,
    rows: &[u8],
    activations: &[ActivationBlock],
    out: &mut [f32],
) {
    if out.is_empty() {
        return;
    }
    let blocks: &[B] = bytemuck::cast_slice(rows);
    assert!(
        blocks.len().is_multiple_of(out.len()),
        "{} blocks in {} rows",
        blocks.len(),
        out.len()
    );
    let columns = blocks.len() / out.len();
    if columns == 0 {
        return out.fill(0.0);
    }
    let activations = &activations[..columns.div_ceil(blocks_per_span::<B>())];
    let part = out.len() / STREAMS;
    let (blocks, left) = blocks.split_at(STREAMS * part * columns);
    let (out, out_left) = out.split_at_mut(STREAMS * part);
    let (ab, cd) = out.split_at_mut(2 * part);
    let ((a, b), (c, d)) = (ab.split_at_mut(part), cd.split_at_mut(part));
    // Iterators all along: with a look-up of each row and product, short rows took a tenth longer.
    let outs = a.iter_mut().zip(b).zip(c).zip(d);
    let rows = |k: usize| blocks[k * part * columns..].chunks_exact(columns);
    let rows = rows(0).zip(rows(1)).zip(rows(2)).zip(rows(3));
    for ((((a, b), c), d), (((of_a, of_b), of_c), of_d)) in rows.zip(outs) {
        [*of_a, *of_b, *of_c, *of_d] = dot(set, [a, b, c, d], activations);
    }
    for (row, out) in left.chunks_exact(columns).zip(out_left) {
        *out = dot_one(row, activations);
    }
}

/// The product of a row that has no three others beside it. Matrices have a few such rows if any, so it
/// is compiled once and not for every set.
#[inline(never)]
fn dot_one<B: Levels>(row: &[B], activations: &[ActivationBlock]) -> f32 {
    dot(Portable::<8>, [row; STREAMS], activations)[0]
}

/// The products of some rows.
#[inline(always)]
fn dot<S: Products, B: Levels>(
    set: S,
    rows: [&[B]; STREAMS],
    activations: &[ActivationBlock],
) -> [f32; STREAMS] {
    let size = blocks_per_span::<B>();
    let columns = rows[0].len();
    let zero = set.splat(0.0);
    let mut sums = [set.pair_f32([zero, zero]); STREAMS / 2];
    let whole = columns / size;
    for (r, activations) in activations[..whole].iter().enumerate() {
        let mut spans = rows;
        for (span, row) in spans.iter_mut().zip(rows) {
            *span = &row[r * size..(r + 1) * size];
            for line in (0..size_of_val(*span)).step_by(64) {
                set.prefetch(span.as_ptr().cast::<u8>().wrapping_add(AHEAD + line));
            }
        }
        sums = add_spans(set, spans, 8, activations, sums);
    }
    if size > 1
        && let Some(last) = activations.get(whole)
    {
        let mut rests = rows;
        for rest in &mut rests {
            *rest = &rest[whole * size..];
        }
        // Without loops over some number of blocks, which took a tenth of the time of gpt-oss's rows
        // of 2880, and half of that of the nano's. Widths are multiples of 64 in practice.
        sums = match columns % size {
            2 => add_spans(set, rests, 2, last, sums),
            4 => add_spans(set, rests, 4, last, sums),
            6 => add_spans(set, rests, 6, last, sums),
            groups => add_spans(set, rests, groups, last, sums),
        };
    }
    set.sums(sums)
}

/// Adds the products of the first `groups` groups of spans.
///
/// Pair by pair and not in a loop, which the compiler leaves a loop for some types, with all that it
/// keeps in memory: q5_1 took twice as long.
#[inline(always)]
fn add_spans<S: Products, B: Levels>(
    set: S,
    spans: [&[B]; STREAMS],
    groups: usize,
    activations: &ActivationBlock,
    sums: [S::PairF32; STREAMS / 2],
) -> [S::PairF32; STREAMS / 2] {
    let blocks = (groups * blocks_per_span::<B>()).div_ceil(8);
    let [a, b] = [&spans[0][..blocks], &spans[1][..blocks]];
    let [c, d] = [&spans[2][..blocks], &spans[3][..blocks]];
    let first = add_pair(set, [a, b], groups, activations, sums[0]);
    [first, add_pair(set, [c, d], groups, activations, sums[1])]
}

/// Adds the products of a span of two rows, which may end early, to the sums of the rows.
#[inline(always)]
fn add_pair<S: Products, B: Levels>(
    set: S,
    spans: [&[B]; 2],
    groups: usize,
    activations: &ActivationBlock,
    sums: S::PairF32,
) -> S::PairF32 {
    let mut products = set.dot_two(spans, groups, activations);
    let center = B::RANGE.center();
    if center != 0 {
        let centers = |span| {
            let centers = set.scale_words(set.words(B::sub_scales(span)), center);
            set.weigh_sums(centers, activations)
        };
        products = set.pair_sub(products, set.pair_i32([centers(spans[0]), centers(spans[1])]));
    }
    let scales = set.load_f32(&activations.scales);
    let scales = set.pair_f32([scales, scales]);
    let own = set.pair_f32([B::scales(set, spans[0]), B::scales(set, spans[1])]);
    let sums = set.pair_fused(set.pair_mul(own, scales), set.pair_to_f32(products), sums);
    if !B::MINS {
        return sums;
    }
    let mins = |span| set.weigh_sums(set.words(B::mins(span)), activations);
    let mins = set.pair_to_f32(set.pair_i32([mins(spans[0]), mins(spans[1])]));
    let offsets = set.pair_f32([B::offsets(set, spans[0]), B::offsets(set, spans[1])]);
    set.pair_fused(set.pair_mul(offsets, scales), mins, sums)
}
