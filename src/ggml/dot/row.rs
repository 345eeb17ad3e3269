//! Products of single rows: what decoding needs, where each weight is read for one token.

use super::{Levels, Run, Set, blocks_per_run};

/// Places of the weights that are read in turns: memory gives more to several streams of addresses.
/// Tokens of the 20b in turns on two threads of Emerald Rapids: mxfp4 at 16.1 GB/s with two streams,
/// 17.1 with four, q8_0 at 19.6 and 21.1. Eight were slower.
const STREAMS: usize = 4;

/// Bytes from what is multiplied to what is asked for, in each stream; the processor's own look-ahead
/// ends with a page. 512 and 2048 were slower by some percent, 4096 by as much as two streams.
const AHEAD: usize = 1024;

/// Writes the products of `out.len()` rows with one row of activations.
#[inline(always)]
pub(super) fn dot_rows<S: Set, B: Levels>(
    set: S,
    rows: &[u8],
    activations: &[Run],
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
    let activations = &activations[..columns.div_ceil(blocks_per_run::<B>())];
    let (part, last) = (out.len().div_ceil(STREAMS), out.len() - 1);
    for i in 0..part {
        // Where the parts are not equally long, a row is multiplied twice.
        let mut numbers = [0; STREAMS];
        let mut rows = [&blocks[..0]; STREAMS];
        for (k, (number, row)) in numbers.iter_mut().zip(&mut rows).enumerate() {
            *number = last.min(k * part + i);
            *row = &blocks[*number * columns..][..columns];
        }
        for (number, product) in numbers.into_iter().zip(dot(set, rows, activations)) {
            out[number] = product;
        }
    }
}

/// The products of some rows.
#[inline(always)]
fn dot<S: Set, B: Levels>(set: S, rows: [&[B]; STREAMS], activations: &[Run]) -> [f32; STREAMS] {
    let size = blocks_per_run::<B>();
    let columns = rows[0].len();
    let mut sums = [set.splat(0.0); STREAMS];
    let whole = columns / size;
    for (r, activations) in activations[..whole].iter().enumerate() {
        let mut runs = rows;
        for (run, row) in runs.iter_mut().zip(rows) {
            *run = &row[r * size..(r + 1) * size];
            for line in (0..size_of_val(*run)).step_by(64) {
                set.prefetch(run.as_ptr().cast::<u8>().wrapping_add(AHEAD + line));
            }
        }
        sums = add_runs(set, runs, 8, activations, sums);
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
            2 => add_runs(set, rests, 2, last, sums),
            4 => add_runs(set, rests, 4, last, sums),
            6 => add_runs(set, rests, 6, last, sums),
            groups => add_runs(set, rests, groups, last, sums),
        };
    }
    let mut dots = [0.0; STREAMS];
    for (dot, sum) in dots.iter_mut().zip(sums) {
        *dot = set.sum(sum);
    }
    dots
}

/// Adds the products of the first `groups` groups of runs.
///
/// Row by row and not in a loop, which the compiler leaves a loop for some types, with all that it
/// keeps in memory: q5_1 took twice as long.
#[inline(always)]
fn add_runs<S: Set, B: Levels>(
    set: S,
    runs: [&[B]; STREAMS],
    groups: usize,
    activations: &Run,
    sums: [S::F32; STREAMS],
) -> [S::F32; STREAMS] {
    let blocks = (groups * blocks_per_run::<B>()).div_ceil(8);
    let [a, b] = [&runs[0][..blocks], &runs[1][..blocks]];
    let [c, d] = [&runs[2][..blocks], &runs[3][..blocks]];
    let [of_a, of_b] = set.dot_two([a, b], groups, activations);
    let a = add_run(set, a, of_a, activations, sums[0]);
    let b = add_run(set, b, of_b, activations, sums[1]);
    let [of_c, of_d] = set.dot_two([c, d], groups, activations);
    let c = add_run(set, c, of_c, activations, sums[2]);
    let d = add_run(set, d, of_d, activations, sums[3]);
    [a, b, c, d]
}

/// Adds the products of a run, which may end early, to the sums of a row.
#[inline(always)]
fn add_run<S: Set, B: Levels>(
    set: S,
    run: &[B],
    mut products: S::I32,
    activations: &Run,
    sum: S::F32,
) -> S::F32 {
    let center = B::KIND.center();
    if center != 0 {
        let centers = set.scale_words(set.words(B::sub_scales(run)), center);
        products = set.sub_i32(products, set.weigh_sums(centers, activations));
    }
    let scales = set.load_f32(&activations.scales);
    let scaled = set.mul(B::scales(set, run), scales);
    let sum = set.fused(scaled, set.to_f32(products), sum);
    if !B::MINS {
        return sum;
    }
    let mins = set.words(B::mins(run));
    let offsets = set.mul(B::offsets(set, run), scales);
    set.fused(offsets, set.to_f32(set.weigh_sums(mins, activations)), sum)
}
