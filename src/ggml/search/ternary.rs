//! Scales of levels -1, 0 and 1 that are all a little off, to the same side: `iq1_s` and `iq1_m`.

use std::sync::LazyLock;

use super::way::Search;
use crate::ggml::grid::{Grid, Place, cells, points::iq1_s::POINTS, values};

/// How far off the levels are.
pub(in crate::ggml) const DELTA: f32 = 0.125;
/// The levels where they are more.
pub(in crate::ggml) const UP: [f32; 3] = [-1.0 + DELTA, DELTA, 1.0 + DELTA];
/// The levels where they are less.
pub(in crate::ggml) const DOWN: [f32; 3] = [-1.0 - DELTA, -DELTA, 1.0 - DELTA];

/// What the points of the codebook stand for, but for [`DELTA`].
pub(in crate::ggml) static VALUES: [u64; POINTS.len()] = cells(values(&POINTS, &[-1, 0, 1]));
/// The codebook.
pub(in crate::ggml) static GRID: LazyLock<Grid<8>> = LazyLock::new(|| Grid::new(&POINTS, 3));

/// Eight times the [`VALUES`]; the lowest three bits of each byte are zero.
pub(in crate::ggml) static EIGHTHS: [u64; POINTS.len()] = cells(values(&POINTS, &[-8, 0, 8]));

/// Where every weight of a sub-block goes, in the order of their values: the first to the lowest
/// level, those from `middle` on to the middle one, those from `high` on to the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::ggml) struct Split<Shift> {
    pub middle: usize,
    pub high: usize,
    pub scale: f32,
    /// To which side the levels are off.
    pub shift: Shift,
}

/// The indices of `x` in the order of the values; equal ones stay in order, as the merge sort
/// behind glibc's `qsort` leaves them.
#[inline(always)]
pub(in crate::ggml) fn order<const N: usize>(x: &[f32; N]) -> [u8; N] {
    // Integers in the order of the floats, then of the indices; adding zero makes both zeros one.
    let mut keys: [u64; N] = std::array::from_fn(|i| {
        let bits = (x[i] + 0.0).to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        u64::from(ordered) << 32 | i as u64
    });
    keys.sort_unstable();
    keys.map(|key| key as u8)
}

/// The best splits of sub-blocks.
pub(in crate::ggml) struct SplitBatch<'a, const N: usize, Shift> {
    pub x: &'a [[f32; N]],
    pub weights: &'a [[f32; N]],
    /// [`order`] of each sub-block.
    pub orders: &'a [[u8; N]],
    pub splits: &'a mut [Option<Split<Shift>>],
}

impl<const N: usize, Shift> SplitBatch<'_, N, Shift> {
    pub(super) fn each(
        self,
        split: impl Fn(&[f32; N], &[f32; N], &[u8; N]) -> Option<Split<Shift>>,
    ) {
        let Self { x, weights, orders, splits } = self;
        for (((x, weights), order), slot) in x.iter().zip(weights).zip(orders).zip(splits) {
            *slot = split(x, weights, order);
        }
    }
}

/// The best of all splits of 32 weights; the shift is [`UP`] where true. `None` where no weight
/// counts. The search of the reference's `quantize_row_iq1_s_impl`.
pub(super) fn split(x: &[f32; 32], weights: &[f32; 32], order: &[u8; 32]) -> Option<Split<bool>> {
    let (mut sum_x, mut sum_w) = ([0.0f32; 33], [0.0f32; 33]);
    for (j, &i) in order.iter().enumerate() {
        let i = usize::from(i);
        sum_x[j + 1] = sum_x[j] + weights[i] * x[i];
        sum_w[j + 1] = sum_w[j] + weights[i];
    }
    let mut best: Option<Split<bool>> = None;
    let mut score = -f32::MAX;
    for middle in 0..=32 {
        for high in middle..=32 {
            let thirds = |sum: &[f32; 33]| {
                [sum[middle] - sum[0], sum[high] - sum[middle], sum[32] - sum[high]]
            };
            let (x, w) = (thirds(&sum_x), thirds(&sum_w));
            for (shift, q) in [(true, UP), (false, DOWN)] {
                let with_x = x[0] * q[0] + x[1] * q[1] + x[2] * q[2];
                let squares = w[0] * q[0] * q[0] + w[1] * q[1] * q[1] + w[2] * q[2] * q[2];
                if squares > 0.0 && with_x * with_x > score * squares {
                    let scale = with_x / squares;
                    score = scale * with_x;
                    best = Some(Split { middle, high, scale, shift });
                }
            }
        }
    }
    best
}

/// The best of all splits of 16 weights, with a shift for each half of them; `None` where no
/// weight counts. The search of the reference's `quantize_row_iq1_m_impl`.
pub(super) fn split_halves(
    x: &[f32; 16],
    weights: &[f32; 16],
    order: &[u8; 16],
) -> Option<Split<[bool; 2]>> {
    let (mut sum_x, mut sum_w) = ([[0.0f32; 17]; 2], [[0.0f32; 17]; 2]);
    for (j, &i) in order.iter().enumerate() {
        let i = usize::from(i);
        for half in 0..2 {
            let (mut x_now, mut w_now) = (sum_x[half][j], sum_w[half][j]);
            if i / 8 == half {
                x_now += weights[i] * x[i];
                w_now += weights[i];
            }
            (sum_x[half][j + 1], sum_w[half][j + 1]) = (x_now, w_now);
        }
    }
    let mut best: Option<Split<[bool; 2]>> = None;
    let mut score = -f32::MAX;
    for middle in 0..=16 {
        for high in middle..=16 {
            // Levels are one apart, so the sums of three parts come from those of two.
            let with_x = |half: usize, q: &[f32; 3]| {
                let sum = &sum_x[half];
                sum[16] * q[2] - (sum[middle] + sum[high])
            };
            let squares = |half: usize, q: &[f32; 3]| {
                let sum = &sum_w[half];
                let (low, top) = (q[0] * q[0] - q[1] * q[1], q[1] * q[1] - q[2] * q[2]);
                sum[16] * q[2] * q[2] + sum[middle] * low + sum[high] * top
            };
            for shift in [[true, true], [true, false], [false, true], [false, false]] {
                let q = shift.map(levels);
                let with_x = with_x(0, q[0]) + with_x(1, q[1]);
                let squares = squares(0, q[0]) + squares(1, q[1]);
                if squares > 0.0 && with_x * with_x > score * squares {
                    let scale = with_x / squares;
                    score = scale * with_x;
                    best = Some(Split { middle, high, scale, shift });
                }
            }
        }
    }
    best
}

/// What the levels stand for.
#[inline(always)]
pub(in crate::ggml) fn levels(up: bool) -> &'static [f32; 3] {
    if up { &UP } else { &DOWN }
}

/// The levels of every weight; turned around where the scale is negative.
pub(in crate::ggml) fn assign<const N: usize, Shift>(
    split: &Split<Shift>,
    order: &[u8; N],
) -> [u8; N] {
    let mut levels = [0; N];
    for (j, &i) in order.iter().enumerate() {
        let i = usize::from(i);
        let level = u8::from(j >= split.middle) + u8::from(j >= split.high);
        levels[i] = if split.scale < 0.0 { 2 - level } else { level };
    }
    levels
}

/// The points of cells with these levels, which stand for `q`, and the scale: the nearest points
/// at that scale where the codebook does not have the levels, and the best scale for them then.
#[inline(always)]
pub(in crate::ggml) fn snap<S: Search, const CELLS: usize>(
    search: S,
    x: &[[f32; 8]; CELLS],
    weights: &[[f32; 8]; CELLS],
    levels: &[[u8; 8]; CELLS],
    q: &[&[f32; 3]; CELLS],
    scale: f32,
) -> ([u16; CELLS], f32) {
    let grid = &*GRID;
    let mut points = [0; CELLS];
    let mut missed = false;
    for cell in 0..CELLS {
        points[cell] = match grid.place(Grid::code(&levels[cell])) {
            Place::On(point) => point,
            Place::Near(near) => {
                missed = true;
                let mut values = [0.0; 8];
                values[..3].copy_from_slice(&q[cell].map(|q| scale * q));
                search.nearest(grid, near, &x[cell], &weights[cell], &values)
            }
        };
    }
    if !missed {
        return (points, scale);
    }
    let (mut with_x, mut squares) = (0.0f32, 0.0f32);
    for cell in 0..CELLS {
        let levels = grid.levels(points[cell]);
        for i in 0..8 {
            let (w, q) = (weights[cell][i], q[cell][usize::from(levels[i])]);
            with_x += w * q * x[cell][i];
            squares += w * q * q;
        }
    }
    (points, if with_x > 0.0 && squares > 0.0 { with_x / squares } else { scale })
}
