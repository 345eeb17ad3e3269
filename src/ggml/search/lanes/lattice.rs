//! Scales of magnitudes whose levels come from a codebook; the scalar search is
//! `search/lattice.rs`.

use crate::ggml::grid::{Grid, Place};
use crate::ggml::search::lattice::{Fit, Lattice, LatticeBatch, Refit, Start};
use crate::ggml::search::nearest;
use crate::ggml::search::way::Batch;
use crate::simd::{MAX_LANES, Simd};

impl<const N: usize, const CELLS: usize> Batch for LatticeBatch<'_, N, CELLS> {
    fn one_by_one(self) {
        let Self { search, grid, x, weights, starts, fits } = self;
        for (((x, weights), start), fit) in x.iter().zip(weights).zip(starts).zip(fits) {
            *fit = search.fit(grid, x, weights, *start);
        }
    }

    #[inline(always)]
    fn in_lanes<S: Simd>(self, s: S) {
        let LatticeBatch { search, grid, x, weights, starts, fits } = self;
        let chunks = x.chunks(S::LANES).zip(weights.chunks(S::LANES)).zip(starts.chunks(S::LANES));
        for (((x, weights), starts), fits) in chunks.zip(fits.chunks_mut(S::LANES)) {
            SubBlocks::new(s, search, grid, x, weights).fit(starts, fits);
        }
    }
}

/// A number of each sub-block.
type Lanes = [f32; MAX_LANES];

/// One sub-block in each lane; lanes without a sub-block repeat the last one, as far as they count.
struct SubBlocks<'a, S: Simd, const N: usize, const CELLS: usize> {
    s: S,
    search: Lattice,
    grid: &'a Grid<N>,
    /// The magnitudes by sub-block, and by lane.
    rows: &'a [[[f32; N]; CELLS]],
    x: [[S::F32; N]; CELLS],
    /// The square roots of the weights, by sub-block.
    roots: [[[f32; N]; CELLS]; MAX_LANES],
    weights: [[S::F32; N]; CELLS],
    /// Weights times magnitudes.
    products: [[S::F32; N]; CELLS],
}

/// The points of every cell, by sub-block.
type Points<const CELLS: usize> = [[u16; CELLS]; MAX_LANES];

impl<'a, S: Simd, const N: usize, const CELLS: usize> SubBlocks<'a, S, N, CELLS> {
    #[inline(always)]
    fn new(
        s: S,
        search: Lattice,
        grid: &'a Grid<N>,
        rows: &'a [[[f32; N]; CELLS]],
        weight_rows: &[[[f32; N]; CELLS]],
    ) -> Self {
        let mut roots = [[[0.0; N]; CELLS]; MAX_LANES];
        for (roots, weights) in roots.iter_mut().zip(weight_rows) {
            *roots = weights.map(|cell| cell.map(f32::sqrt));
        }
        let x = columns(s, rows);
        let weights = columns(s, weight_rows);
        let mut products = weights;
        for cell in 0..CELLS {
            for i in 0..N {
                products[cell][i] = s.mul(weights[cell][i], x[cell][i]);
            }
        }
        Self { s, search, grid, rows, x, roots, weights, products }
    }

    #[inline(always)]
    fn fit(&self, starts: &[Start], fits: &mut [Fit<CELLS>]) {
        let s = self.s;
        let (mut scales, mut tops): (Lanes, Lanes) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
        for lane in 0..S::LANES {
            let start = starts[lane.min(starts.len() - 1)];
            (scales[lane], tops[lane]) = (start.scale, start.top);
        }
        let (mut scale, top) = (s.load(&scales), s.load(&tops));
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let mut best = zero;
        let mut points: Points<CELLS> = [[0; CELLS]; MAX_LANES];
        // One bit for each sub-block, by cell.
        let mut missed = [if self.search.refit == Refit::Missed { 0 } else { u32::MAX }; CELLS];
        let all = [u32::MAX; CELLS];
        for n in -self.search.tries..=self.search.tries {
            let inverse = s.div(s.splat(self.search.spread::<N>(n)), top);
            let mut candidate = points;
            let candidate_missed = self.round(inverse, s.div(one, inverse), &all, &mut candidate);
            let (with_x, squares) = self.sums(&candidate);
            let better =
                s.and(s.lt(zero, squares), s.lt(s.mul(best, squares), s.mul(with_x, with_x)));
            let bits = s.bits(better);
            if bits == 0 {
                continue;
            }
            scale = s.select(better, s.div(with_x, squares), scale);
            best = s.select(better, s.mul(scale, with_x), best);
            for (lane, points) in points[..self.rows.len()].iter_mut().enumerate() {
                if bits >> lane & 1 == 1 {
                    *points = candidate[lane];
                }
            }
            for (missed, candidate) in missed.iter_mut().zip(candidate_missed) {
                *missed = *missed & !bits | candidate & bits;
            }
        }
        let any_missed = missed.iter().fold(0, |any, missed| any | missed);
        let positive = s.bits(s.lt(zero, scale));
        let wanted = match self.search.refit {
            Refit::Missed => missed.map(|missed| missed & positive),
            Refit::AllIfMissed => [any_missed & positive; CELLS],
            Refit::All => [positive; CELLS],
        };
        let before = scale;
        if wanted != [0; CELLS] {
            self.round(s.div(one, scale), scale, &wanted, &mut points);
            let (with_x, squares) = self.sums(&points);
            scale = s.select(s.lt(zero, squares), s.div(with_x, squares), scale);
        }
        let refitted = wanted.iter().fold(0, |any, wanted| any | wanted);
        let (mut scales, mut unchanged): (Lanes, Lanes) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
        s.store(scale, &mut scales);
        s.store(before, &mut unchanged);
        for (lane, fit) in fits.iter_mut().enumerate() {
            let scale = if refitted >> lane & 1 == 1 { scales[lane] } else { unchanged[lane] };
            *fit = Fit { scale, points: points[lane] };
        }
    }

    /// Puts the points at these scales into `points`, for the sub-blocks and cells of `wanted`; the
    /// result says for which of them the codebook does not have the levels.
    #[inline(always)]
    fn round(
        &self,
        inverse: S::F32,
        scale: S::F32,
        wanted: &[u32; CELLS],
        points: &mut Points<CELLS>,
    ) -> [u32; CELLS] {
        let s = self.s;
        let mut scales: Lanes = [0.0; MAX_LANES];
        s.store(scale, &mut scales);
        let mut missed = [0; CELLS];
        for cell in 0..CELLS {
            let mut codes = [0; MAX_LANES];
            s.store_i32(s.truncate(self.codes(cell, inverse)), &mut codes);
            for (lane, row) in self.rows.iter().enumerate() {
                if wanted[cell] >> lane & 1 == 0 {
                    continue;
                }
                points[lane][cell] = match self.grid.place(codes[lane] as usize) {
                    Place::On(point) => point,
                    Place::Near(near) => {
                        missed[cell] |= 1 << lane;
                        let values = s.mul(s.splat(scales[lane]), s.load(&ODD));
                        nearest::in_lanes(s, near, &row[cell], &self.roots[lane][cell], values)
                    }
                };
            }
        }
        missed
    }

    /// The codes of the levels of a cell, as [`Grid::code`] has them.
    #[inline(always)]
    fn codes(&self, cell: usize, inverse: S::F32) -> S::F32 {
        let s = self.s;
        let highest = s.splat_i32(Grid::<N>::LEVELS as i32 - 1);
        let base = s.splat(Grid::<N>::LEVELS as f32);
        let (half, zero) = (s.splat(0.5), s.splat_i32(0));
        let mut code = s.splat(0.0);
        for i in (0..N).rev() {
            let quotient = s.mul(half, s.sub(s.mul(inverse, self.x[cell][i]), s.splat(1.0)));
            let level = s.min_i32(s.max_i32(s.nearest_int(quotient), zero), highest);
            code = s.add(s.mul(code, base), s.to_f32(level));
        }
        code
    }

    /// Sums of weight, magnitude and value, and of weight and value squared.
    #[inline(always)]
    fn sums(&self, points: &Points<CELLS>) -> (S::F32, S::F32) {
        let s = self.s;
        let [mut with_x, mut squares] = [s.splat(0.0); 2];
        for cell in 0..CELLS {
            let mut values: [Lanes; N] = [[0.0; MAX_LANES]; N];
            for (lane, points) in points[..self.rows.len()].iter().enumerate() {
                let row = self.grid.odd_values(points[cell]);
                for i in 0..N {
                    values[i][lane] = row[i];
                }
            }
            for (i, values) in values.iter().enumerate() {
                let q = s.load(values);
                with_x = s.add(with_x, s.mul(self.products[cell][i], q));
                squares = s.add(squares, s.mul(s.mul(self.weights[cell][i], q), q));
            }
        }
        (with_x, squares)
    }
}

/// The values of the levels.
const ODD: Lanes =
    [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];

/// Rows of cells as columns of cells.
#[inline(always)]
fn columns<S: Simd, const N: usize, const CELLS: usize>(
    s: S,
    rows: &[[[f32; N]; CELLS]],
) -> [[S::F32; N]; CELLS] {
    let mut columns = [[s.splat(0.0); N]; CELLS];
    for (cell, columns) in columns.iter_mut().enumerate() {
        let mut lanes: [Lanes; N] = [[0.0; MAX_LANES]; N];
        for lane in 0..S::LANES {
            let row = &rows[lane.min(rows.len() - 1)][cell];
            for i in 0..N {
                lanes[i][lane] = row[i];
            }
        }
        for (column, lanes) in columns.iter_mut().zip(&lanes) {
            *column = s.load(lanes);
        }
    }
    columns
}
