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
    let part = out.len() / STREAMS;
    for i in 0..part {
        let mut rows = [&blocks[..0]; STREAMS];
        for (k, row) in rows.iter_mut().enumerate() {
            *row = &blocks[(k * part + i) * columns..][..columns];
        }
        for (k, product) in dot(set, rows, activations).into_iter().enumerate() {
            out[k * part + i] = product;
        }
    }
    let rest = blocks.chunks_exact(columns).zip(out).skip(STREAMS * part);
    for (row, out) in rest {
        [*out] = dot(set, [row], activations);
    }
}

/// The products of some rows.
#[inline(always)]
fn dot<S: Set, B: Levels, const R: usize>(
    set: S,
    rows: [&[B]; R],
    activations: &[Run],
) -> [f32; R] {
    let size = blocks_per_run::<B>();
    let columns = rows[0].len();
    let mut sums = [set.splat(0.0); R];
    let whole = columns / size;
    for (r, activations) in activations[..whole].iter().enumerate() {
        let mut runs = rows;
        for (run, row) in runs.iter_mut().zip(rows) {
            *run = &row[r * size..(r + 1) * size];
            for line in (0..size_of_val(*run)).step_by(64) {
                set.prefetch(run.as_ptr().cast::<u8>().wrapping_add(AHEAD + line));
            }
        }
        add_runs(set, runs, 8, activations, &mut sums);
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
        match columns % size {
            2 => add_rests::<S, B, R, 2>(set, rests, last, &mut sums),
            4 => add_rests::<S, B, R, 4>(set, rests, last, &mut sums),
            6 => add_rests::<S, B, R, 6>(set, rests, last, &mut sums),
            groups => add_runs(set, rests, groups, last, &mut sums),
        }
    }
    let mut dots = [0.0; R];
    for (dot, sum) in dots.iter_mut().zip(sums) {
        *dot = set.sum(sum);
    }
    dots
}

/// Adds the products of the last `N` blocks of some rows.
#[inline(always)]
fn add_rests<S: Set, B: Levels, const R: usize, const N: usize>(
    set: S,
    mut rests: [&[B]; R],
    activations: &Run,
    sums: &mut [S::F32; R],
) {
    for rest in &mut rests {
        *rest = &rest[..N];
    }
    add_runs(set, rests, N, activations, sums);
}

/// Adds the products of runs of some rows, of which there are the first `groups` groups.
#[inline(always)]
fn add_runs<S: Set, B: Levels, const R: usize>(
    set: S,
    runs: [&[B]; R],
    groups: usize,
    activations: &Run,
    sums: &mut [S::F32; R],
) {
    let products = set.dot_rows(runs, groups, activations);
    for ((run, products), sum) in runs.iter().zip(products).zip(sums) {
        *sum = add_run(set, run, products, activations, *sum);
    }
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
