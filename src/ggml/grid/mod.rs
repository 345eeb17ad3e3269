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
    odd_values: Vec<[f32; N]>,
    /// By [`code`](Self::code).
    places: Vec<Entry>,
    /// Lists of points, one after the other.
    near: Vec<u16>,
    /// The levels of those, as [`Near::levels`] has them.
    near_levels: Vec<u32>,
}

/// A point's index and no length, or the start and the length of a list.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    length: u32,
}

/// Where a combination of levels stands.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// It is the point of this index.
    On(u16),
    /// It is none; these are near.
    Near(Near<'a>),
}

/// Points near to a combination of levels, the nearest first and by index where equally near.
#[derive(Clone, Copy, Debug)]
pub struct Near<'a> {
    /// Their indices.
    pub points: &'a [u16],
    /// Their levels, four bits each, the first level lowest; at least [`SPARE`] more than points,
    /// so that vectors can be read up to the end.
    pub levels: &'a [u32],
}

/// How many levels are behind those of each list.
pub const SPARE: usize = 16;

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
            let start = near.len();
            let entry = match points.iter().position(|point| *point == levels) {
                Some(index) => Entry { start: index as u32, length: 0 },
                None => {
                    push_nearest(&points, &levels, nearest, &mut near);
                    Entry { start: start as u32, length: (near.len() - start) as u32 }
                }
            };
            places.push(entry);
        }
        let nibbles = |&point: &u16| {
            let levels = points[usize::from(point)];
            levels.iter().rev().fold(0, |packed, &level| packed << 4 | u32::from(level))
        };
        let near_levels = near.iter().map(nibbles).chain([0; SPARE]).collect();
        let odd_values = points.iter().map(|p| p.map(|level| f32::from(2 * level + 1))).collect();
        Self { points, odd_values, places, near, near_levels }
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

    /// Where the levels of this code stand.
    #[inline(always)]
    pub fn place(&self, code: usize) -> Place<'_> {
        let Entry { start, length } = self.places[code];
        if length == 0 {
            return Place::On(start as u16);
        }
        let (start, end) = (start as usize, start as usize + length as usize);
        let levels = &self.near_levels[start..end + SPARE];
        Place::Near(Near { points: &self.near[start..end], levels })
    }

    /// The levels of a point.
    #[inline(always)]
    pub fn levels(&self, index: u16) -> [u8; N] {
        self.points[usize::from(index)]
    }

    /// The odd numbers `2 level + 1` of a point.
    #[inline(always)]
    pub fn odd_values(&self, index: u16) -> &[f32; N] {
        &self.odd_values[usize::from(index)]
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

/// Cells of eight values as integers, the first value in the lowest byte.
pub const fn cells<const COUNT: usize>(values: [[i8; 8]; COUNT]) -> [u64; COUNT] {
    let mut cells = [0; COUNT];
    let mut index = 0;
    while index < 8 * COUNT {
        let byte = values[index / 8][index % 8] as u8;
        cells[index / 8] |= (byte as u64) << (8 * (index % 8));
        index += 1;
    }
    cells
}

/// Halves of cells, four values each, as integers, the first value in the lowest byte.
pub const fn half_cells<const COUNT: usize>(values: [[i8; 4]; COUNT]) -> [u32; COUNT] {
    let mut cells = [0; COUNT];
    let mut index = 0;
    while index < 4 * COUNT {
        let byte = values[index / 4][index % 4] as u8;
        cells[index / 4] |= (byte as u32) << (8 * (index % 4));
        index += 1;
    }
    cells
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
            let near = match grid.place(code) {
                Place::On(point) => {
                    assert_eq!((0, point), all[0]);
                    continue;
                }
                Place::Near(near) => near,
            };
            let second = all.iter().map(|(d, _)| *d).find(|d| *d > all[0].0).unwrap();
            let expected: Vec<u16> =
                all.iter().filter(|(d, _)| *d <= second).map(|(_, index)| *index).collect();
            assert_eq!(near.points, expected);
            assert!(near.levels.len() >= expected.len() + SPARE);
            for (&point, packed) in expected.iter().zip(near.levels) {
                let levels: [u8; 4] = std::array::from_fn(|i| (packed >> (4 * i)) as u8 & 15);
                assert_eq!(levels, grid.levels(point));
            }
        }
    }

    #[test]
    fn every_point_is_on_its_grid() {
        let grid = Grid::<8>::new(&points::iq1_s::POINTS, 3);
        for index in 0..points::iq1_s::POINTS.len() as u16 {
            let place = grid.place(Grid::code(&grid.levels(index)));
            assert!(matches!(place, Place::On(found) if found == index));
        }
    }
}
