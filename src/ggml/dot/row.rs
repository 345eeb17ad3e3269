//! Products of single rows: what decoding needs, where each weight is read for one token.

use super::{Levels, Run, Set, blocks_per_run};

/// Bytes from what is multiplied to what is asked for. The processor's own look-ahead ends with
/// a page.
const AHEAD: usize = 4096;

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
    // A row of the first half and one of the second together. Two streams of addresses come from
    // memory faster than one, MXFP4 on two threads at 24 instead of 22 GB/s; four were no better.
    let half = out.len() / 2;
    let (first, second) = blocks.split_at(half * columns);
    let (out, second_out) = out.split_at_mut(half);
    let mut second = second.chunks_exact(columns).zip(second_out);
    for ((row, out), (second, second_out)) in
        first.chunks_exact(columns).zip(out).zip(second.by_ref())
    {
        [*out, *second_out] = dot(set, [row, second], activations);
    }
    for (row, out) in second {
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
            let rest = &row[whole * size..];
            let products = set.dot_groups(rest, rest.len(), last);
            *sum = add_run(set, rest, products, last, *sum);
        }
    }
    let mut dots = [0.0; R];
    for (dot, sum) in dots.iter_mut().zip(sums) {
        *dot = set.sum(sum);
    }
    dots
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
