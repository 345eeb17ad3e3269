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
        let products = set.dot_rows(runs, activations);
        for ((run, products), sum) in runs.iter().zip(products).zip(&mut sums) {
            *sum = add_run(set, run, products, activations, *sum);
        }
    }
    if let Some(last) = activations.get(whole) {
        for (row, sum) in rows.iter().zip(&mut sums) {
            // The two blocks beyond the runs of a row of gpt-oss without loops over some number of
            // them, which took a tenth of the row's time.
            *sum = match &row[whole * size..] {
                [first, second] => add_part(set, &[*first, *second], last, *sum),
                rest => add_part(set, rest, last, *sum),
            };
        }
    }
    let mut dots = [0.0; R];
    for (dot, sum) in dots.iter_mut().zip(sums) {
        *dot = set.sum(sum);
    }
    dots
}

/// Adds the products of a run that ends early.
#[inline(always)]
fn add_part<S: Set, B: Levels>(set: S, run: &[B], activations: &Run, sum: S::F32) -> S::F32 {
    let products = set.dot_groups(run, run.len(), activations);
    add_run(set, run, products, activations, sum)
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
