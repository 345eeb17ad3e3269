//! Rows of a tile unpacked, side by side in the lanes of wide vectors, span by span. Knows nothing of
//! activations.

use std::marker::PhantomData;

use super::levels::blocks_per_span;
use super::products::{Products, Spans};
use super::{Levels, Set};
use crate::simd::Aligned;

/// Where the kinds of wide vectors of a span begin in an unpacked tile.
pub(super) const LEVELS: usize = 0;
pub(super) const SCALES: usize = LEVELS + 64;
pub(super) const OFFSETS: usize = SCALES + 8;
pub(super) const MINS: usize = OFFSETS + 8;

/// Where those begin that depend on what there is before them, and where a span ends.
pub(super) struct Slots<B>(PhantomData<B>);

impl<B: Levels> Slots<B> {
    pub const SUB_SCALES: usize = if B::MINS { MINS + 8 } else { OFFSETS };
    pub const CENTERS: usize = Self::SUB_SCALES + if B::SUB_SCALES { 16 } else { 0 };
    pub const END: usize = Self::CENTERS + if B::SUB_SCALES { 8 } else { 0 };
}

/// Rows of a tile: two wide vectors.
pub(super) const fn rows_of_tile<S: Set>() -> usize {
    2 * S::ROWS
}

/// Tiles of rows, unpacked.
pub(super) struct Unpacked<'a> {
    all: &'a [u32],
    /// Words of a tile.
    len: usize,
    /// Groups of a row.
    pub groups: usize,
}

impl<'a> Unpacked<'a> {
    /// One tile after the other.
    #[inline(always)]
    pub fn tiles(&self) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        self.all.chunks_exact(self.len)
    }
}

/// Unpacks `count` rows, whole tiles, with `shift` added to the byte of every level; nothing if there
/// are no columns.
#[inline(always)]
pub(super) fn unpack<'a, S: Products, B: Levels>(
    set: S,
    rows: &[u8],
    count: usize,
    shift: u8,
    memory: &'a mut Aligned,
) -> Option<Unpacked<'a>> {
    let blocks: &[B] = bytemuck::cast_slice(rows);
    let tile = rows_of_tile::<S>();
    assert!(count > 0 && count.is_multiple_of(tile), "{count} rows in tiles of {tile}");
    assert!(blocks.len().is_multiple_of(count), "{} blocks in {count} rows", blocks.len());
    let columns = blocks.len() / count;
    if columns == 0 {
        return None;
    }
    let spans = columns.div_ceil(blocks_per_span::<B>());
    let len = spans * tile * Slots::<B>::END;
    let all = memory.room(len * (count / tile));
    for (blocks, tile) in blocks.chunks_exact(tile * columns).zip(all.chunks_exact_mut(len)) {
        unpack_tile(set, blocks, columns, shift, tile);
    }
    Some(Unpacked { all, len, groups: columns * B::TYPE.block_size() / 32 })
}

/// Unpacks a tile: for each span, the slots of the first vector of rows, then of the second. Those of
/// groups beyond the end of a row stay as they are.
#[inline(always)]
fn unpack_tile<S: Products, B: Levels>(
    set: S,
    blocks: &[B],
    columns: usize,
    shift: u8,
    tile: &mut [u32],
) {
    let size = blocks_per_span::<B>();
    for (r, slots) in tile.chunks_exact_mut(2 * Slots::<B>::END * S::ROWS).enumerate() {
        let range = r * size..columns.min((r + 1) * size);
        let halves = slots.chunks_exact_mut(Slots::<B>::END * S::ROWS);
        for (blocks, slots) in blocks.chunks_exact(S::ROWS * columns).zip(halves) {
            let spans = Spans::new(blocks, columns, range.clone());
            for row in 0..S::ROWS {
                // The same span of the next tile, from memory while this tile is unpacked.
                let span = spans.row(row);
                let next = span.as_ptr().wrapping_add(rows_of_tile::<S>() * columns);
                for line in (0..size_of_val(span)).step_by(64) {
                    set.prefetch(next.cast::<u8>().wrapping_add(line));
                }
            }
            set.unpack_levels(&spans, shift, &mut slots[LEVELS * S::ROWS..]);
            for first in (0..S::ROWS).step_by(8) {
                unpack_scales(set, &spans, first, &mut slots[first..]);
            }
        }
    }
}

/// Unpacks what there is beside levels of the spans of eight rows from `first` on, into the first
/// lanes of their slots.
#[inline(always)]
fn unpack_scales<S: Set, B: Levels>(set: S, spans: &Spans<'_, B>, first: usize, slots: &mut [u32]) {
    let mut by_row = [set.spread(0, 0); 8];
    for (row, scales) in by_row.iter_mut().enumerate() {
        *scales = set.bytes_of(B::scales(set, spans.row(first + row)));
    }
    set.interleave(by_row, &mut slots[SCALES * S::ROWS..]);
    if B::MINS {
        for (row, offsets) in by_row.iter_mut().enumerate() {
            *offsets = set.bytes_of(B::offsets(set, spans.row(first + row)));
        }
        set.interleave(by_row, &mut slots[OFFSETS * S::ROWS..]);
    }
    for row in 0..8 {
        let blocks = spans.row(first + row);
        let slots = &mut slots[row..];
        let mut put = |slot: usize, bits: u32| slots[slot * S::ROWS] = bits;
        if B::SUB_SCALES {
            let center = B::RANGE.center();
            for (g, &[a, b]) in B::sub_scales(blocks).as_chunks().0.iter().enumerate() {
                let (a, b) = (i16::from(a), i16::from(b));
                put(Slots::<B>::SUB_SCALES + 2 * g, pair(a, a));
                put(Slots::<B>::SUB_SCALES + 2 * g + 1, pair(b, b));
                put(Slots::<B>::CENTERS + g, pair(-center * a, -center * b));
            }
        }
        if B::MINS {
            for (g, &[a, b]) in B::mins(blocks).as_chunks().0.iter().enumerate() {
                put(MINS + g, pair(i16::from(a), i16::from(b)));
            }
        }
    }
}

fn pair(low: i16, high: i16) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}
