//! Products of tiles with AMX, whose one instruction multiplies 32 levels of each of 16 rows with as
//! many tokens. What it leaves to do is to scale the sums of each group, which takes longer.
//!
//! Types with sub-scales have no kernel here: a sum would be of 16 columns.
//!
//! An instruction takes 5 to 8 ns and scaling the 256 sums as long, since the two hardly run side by
//! side: two tiles of rows and tokens at a time, four spans of sums kept, 128 rows a task. Tried
//! without gain: activations gathered token by token (a third of the time), 64 or 256 rows a task,
//! asking for the next tiles, or for the rows of this or the next task, before they are unpacked.

mod gather;
mod product;
mod tiles;

use super::unpack::{Slots, Unpacked, unpack};
use super::{Inputs, LevelRange, Levels, RowKernel, Scratch};
use crate::simd::{Aligned, Amx};
use gather::gather;
use product::{UnpackedRows, multiply_tile};
use tiles::{ROWS, Tiles};

/// More rows than of other sets: they are multiplied so fast that gathering the activations for 64 took
/// a tenth of the time; 256 were slower with few tokens, as unpacked they leave the cache.
const TASK_ROWS: usize = 128;

/// The kernel of a type, where the processor has AMX and the operating system grants it.
pub(super) fn kernel<B: Levels>() -> Option<RowKernel> {
    if B::SUB_SCALES {
        return None;
    }
    Amx::detect()?;
    Some(RowKernel {
        multiply: |rows, count, inputs, scratch, out| {
            let Some(set) = Amx::detect() else { unreachable!("it was there before") };
            // SAFETY: `set` proves that the processor has the features.
            unsafe { multiply::<B>(set, rows, count, inputs, scratch, out) }
        },
        task_rows: TASK_ROWS,
        ..RowKernel::vnni::<B>()?
    })
}

/// What to add to a level's byte to have a signed one, with zero for zero.
const fn shift(range: LevelRange) -> u8 {
    match range {
        LevelRange::Unsigned { max, center } => {
            assert!(max - center <= 127, "levels are bytes with a sign");
            center.wrapping_neg()
        }
        LevelRange::Signed => 0,
    }
}

/// # Safety
/// The processor must have these features.
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt"
)]
unsafe fn multiply<B: Levels>(
    set: Amx,
    rows: &[u8],
    count: usize,
    inputs: Inputs<'_>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    assert_eq!(out.len(), inputs.numbers.len() * count, "products of {count} rows");
    let shift = const { shift(B::RANGE) };
    let Some(unpacked) = unpack::<_, B>(set.vnni(), rows, count, shift, &mut scratch.tiles) else {
        return out.fill(0.0);
    };
    let memory = (&mut scratch.activations, &mut scratch.sums);
    if B::MINS {
        multiply_tiles::<true>(set, &unpacked, Slots::<B>::END, count, inputs, memory, out);
    } else {
        multiply_tiles::<false>(set, &unpacked, Slots::<B>::END, count, inputs, memory, out);
    }
}

/// Multiplies unpacked tiles, whose spans have `end` slots: two tiles of tokens at a time, then one,
/// then what is left.
#[inline(always)]
fn multiply_tiles<const OFFSET: bool>(
    set: Amx,
    unpacked: &Unpacked<'_>,
    end: usize,
    count: usize,
    inputs: Inputs<'_>,
    (activations, sums): (&mut Aligned, &mut Aligned),
    mut out: &mut [f32],
) {
    let [sums] = sums.room(1) else { unreachable!("room for one") };
    let spans = unpacked.groups.div_ceil(8);
    let activations = activations.room(8 * spans * 2);
    let (vnni, mut numbers) = (set.vnni(), inputs.numbers);
    while !numbers.is_empty() {
        let tokens = numbers.len().min(ROWS);
        let taken = if numbers.len() >= 2 * ROWS { 2 * ROWS } else { tokens };
        let (these, later) = numbers.split_at(taken);
        let (of_these, of_later) = out.split_at_mut(taken * count);
        let activations = &mut activations[..8 * spans * (taken / tokens)];
        gather::<OFFSET>(Inputs { numbers: these, ..inputs }, tokens, spans, activations);
        let tiles = Tiles::new(set, tokens);
        for (i, words) in unpacked.tiles().enumerate() {
            let rows = UnpackedRows { words: words.as_chunks().0, end, groups: unpacked.groups };
            let out = of_these.chunks_exact_mut(count);
            let out = out.map(|out| &mut out[2 * ROWS * i..][..2 * ROWS]);
            if taken > tokens {
                multiply_tile::<OFFSET, 2>(vnni, &tiles, rows, activations, tokens, sums, out);
            } else {
                multiply_tile::<OFFSET, 1>(vnni, &tiles, rows, activations, tokens, sums, out);
            }
        }
        (numbers, out) = (later, of_later);
    }
}
