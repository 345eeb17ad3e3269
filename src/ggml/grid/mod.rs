//! The codebooks of the types of one to three bits: which combinations of levels a cell of eight
//! or four neighbouring weights can have, and which of them stand near one that it cannot.
//!
//! Follows `iq2xs_init_impl` and `iq3xs_init_impl` of llama.cpp, including the order of what is
//! equally near, which decides bytes. Where those keep lists also for combinations that no
//! quantizer asks for (a fourth level of the eight-weight cells), there is nothing here.

pub mod points;

/// A codebook of cells of `N` weights: eight of three levels or four of eight.
#[derive(Debug)]
pub struct Grid<const N: usize> {
    points: Vec<[u8; N]>,
    /// By [`code`](Self::code): the point's index if it is less than the number of points, or
    /// that number more than the start of its list in `near`.
    places: Vec<u32>,
    /// Lists of points, each after its length.
    near: Vec<u16>,
}

/// Where a combination of levels stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// It is the point of this index.
    On(u16),
    /// It is none; these are near, the nearest first and by index where equally near.
    Near(&'a [u16]),
}

impl<const N: usize> Grid<N> {
    /// Levels of one weight.
    pub const LEVELS: usize = if N == 8 { 3 } else { 8 };

    /// A codebook with the points at the `nearest` smallest distances as neighbours.
    pub fn new(packed: &[u16], nearest: usize) -> Self {
        let points: Vec<[u8; N]> = packed.iter().map(|&point| unpack(point)).collect();
        let mut places = Vec::new();
        let mut near = Vec::new();
        for code in 0..Self::LEVELS.pow(N as u32) {
            let levels = Self::decode(code);
            if let Some(index) = points.iter().position(|point| *point == levels) {
                places.push(index as u32);
                continue;
            }
            places.push((points.len() + near.len()) as u32);
            let start = near.len();
            near.push(0);
            push_nearest(&points, &levels, nearest, &mut near);
            near[start] = (near.len() - start - 1) as u16;
        }
        Self { points, places, near }
    }

    /// Levels as one number, the first of them its lowest digit.
    #[inline(always)]
    pub fn code(levels: &[u8; N]) -> usize {
        levels.iter().rev().fold(0, |code, &level| code * Self::LEVELS + usize::from(level))
    }

    fn decode(mut code: usize) -> [u8; N] {
        std::array::from_fn(|_| {
            let level = code % Self::LEVELS;
            code /= Self::LEVELS;
            level as u8
        })
    }

    /// Where `levels` stand, each less than [`LEVELS`](Self::LEVELS).
    #[inline(always)]
    pub fn place(&self, levels: &[u8; N]) -> Place<'_> {
        let place = self.places[Self::code(levels)] as usize;
        match place.checked_sub(self.points.len()) {
            None => Place::On(place as u16),
            Some(start) => {
                let length = usize::from(self.near[start]);
                Place::Near(&self.near[start + 1..][..length])
            }
        }
    }

    /// The levels of a point.
    #[inline(always)]
    pub fn levels(&self, index: u16) -> [u8; N] {
        self.points[usize::from(index)]
    }
}

/// Appends the points that are at one of the `nearest` smallest distances from `levels`, in the
/// order of distance and index.
fn push_nearest<const N: usize>(
    points: &[[u8; N]],
    levels: &[u8; N],
    nearest: usize,
    near: &mut Vec<u16>,
) {
    let distances: Vec<u8> = points.iter().map(|point| squared_distance(point, levels)).collect();
    let mut found = [false; 256];
    distances.iter().for_each(|&d| found[usize::from(d)] = true);
    for distance in (0..=u8::MAX).filter(|&d| found[usize::from(d)]).take(nearest) {
        let at = distances.iter().enumerate().filter(|(_, d)| **d == distance);
        near.extend(at.map(|(index, _)| index as u16));
    }
}

/// At most 8 * 2^2 or 4 * 7^2.
fn squared_distance<const N: usize>(a: &[u8; N], b: &[u8; N]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b).pow(2)).sum()
}

/// The levels of a point of the tables.
const fn unpack<const N: usize>(point: u16) -> [u8; N] {
    let bits = if N == 8 { 2 } else { 3 };
    let mut levels = [0; N];
    let mut i = 0;
    while i < N {
        levels[i] = (point >> (bits * i)) as u8 & ((1 << bits) - 1);
        i += 1;
    }
    levels
}

/// What the points of a table stand for in blocks, `values` being those of the levels.
pub const fn values<const N: usize, const COUNT: usize>(
    points: &[u16; COUNT],
    values: &[i8],
) -> [[i8; N]; COUNT] {
    let mut all = [[0; N]; COUNT];
    let mut index = 0;
    while index < COUNT {
        let levels: [u8; N] = unpack(points[index]);
        let mut i = 0;
        while i < N {
            all[index][i] = values[levels[i] as usize];
            i += 1;
        }
        index += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_a_sort_by_distance_and_index() {
        let grid = Grid::<4>::new(&points::iq3_xxs::POINTS, 2);
        for code in 0..4096 {
            let levels = Grid::<4>::decode(code);
            assert_eq!(Grid::code(&levels), code);
            let mut all: Vec<(u8, u16)> = (0..256)
                .map(|index| (squared_distance(&grid.levels(index), &levels), index))
                .collect();
            all.sort();
            if all[0].0 == 0 {
                assert_eq!(grid.place(&levels), Place::On(all[0].1));
                continue;
            }
            let second = all.iter().map(|(d, _)| *d).find(|d| *d > all[0].0).unwrap();
            let near: Vec<u16> =
                all.iter().filter(|(d, _)| *d <= second).map(|(_, index)| *index).collect();
            assert_eq!(grid.place(&levels), Place::Near(&near));
        }
    }

    #[test]
    fn every_point_is_on_its_grid() {
        let grid = Grid::<8>::new(&points::iq1_s::POINTS, 3);
        for index in 0..points::iq1_s::POINTS.len() as u16 {
            assert_eq!(grid.place(&grid.levels(index)), Place::On(index));
        }
    }
}
