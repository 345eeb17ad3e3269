//! Rows of any type to and from floats.

use std::sync::atomic::{Ordering, compiler_fence};

use super::GgmlType;
use super::block::{Block, F16_MAX};
use super::dispatch::dispatch;
use super::instruction_set::{InstructionSet, Work};
use super::row::{MANY_SUPER_BLOCKS, Row};
use super::search::Search;

/// Why rows were not quantized. Rows count from the first of the call.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantizeError {
    #[error("row {row}, column {column} is {value}; expected finite weights")]
    NotFinite { row: usize, column: usize, value: f32 },
    #[error(
        "row {row} has values up to {largest:e}, too large for the scales of {ty}; \
         keep this tensor in f32 or bf16"
    )]
    OutOfRange { ty: GgmlType, row: usize, largest: f32 },
    #[error("{columns} columns are no multiple of the {} weights of a {ty} block", ty.block_size())]
    Columns { ty: GgmlType, columns: usize },
    #[error("{values} values in rows of {columns} need {expected} bytes as {ty}, found {found}")]
    Length { ty: GgmlType, values: usize, columns: usize, expected: usize, found: usize },
    #[error("{0} cannot be had without an importance matrix; give one, or use another type")]
    NeedsImportance(GgmlType),
    #[error("the importance of a row of {columns} columns has {found} entries")]
    ImportanceLength { columns: usize, found: usize },
    #[error("the importance of column {column} is {value}; expected a finite number >= 0")]
    BadImportance { column: usize, value: f32 },
}

/// Why blocks were not dequantized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DequantizeError {
    #[error("{bytes} bytes of {ty} do not hold {values} values")]
    Length { ty: GgmlType, bytes: usize, values: usize },
}

/// Whether a type cannot be quantized to without importance.
pub fn needs_importance(ty: GgmlType) -> bool {
    dispatch!(ty, B => B::NEEDS_IMPORTANCE)
}

/// Weights of a row that are lost together if the importance of all of them is zero: so many each,
/// counted from the row's start, which are written as 0 or as noise, since no error of theirs counts
/// in the search for a scale. `None` where a scale is found without importance.
pub const fn lost_together(ty: GgmlType) -> Option<usize> {
    use GgmlType::*;
    match ty {
        Q3_K | Q6_K | IQ1_M | IQ2_XS | IQ2_S => Some(16),
        Q4_0 | Q5_0 | IQ1_S | IQ2_XXS | IQ3_XXS | IQ4_NL | IQ4_XS => Some(32),
        Q2_K | Q4_K | Q5_K => Some(256),
        _ => None,
    }
}

/// Quantizes whole rows: `src` holds rows of `columns` weights, `dst` takes their bytes.
///
/// `importance` weighs the columns (as an importance matrix does; one entry per column) where the
/// type can use it. The bytes are those of llama.cpp's `ggml_quantize_chunk`, whatever the machine
/// and however rows are split into calls.
///
/// # Errors
///
/// A weight that is not finite, one too large for the type's scales, a type that needs the
/// importance that is not there, and lengths that do not fit together. `dst` may be written in part then.
pub fn quantize(
    ty: GgmlType,
    src: &[f32],
    columns: usize,
    importance: Option<&[f32]>,
    dst: &mut [u8],
) -> Result<(), QuantizeError> {
    quantize_with(InstructionSet::best(), ty, src, columns, importance, dst)
}

/// [`quantize`] with one set of instructions: the bytes are the same, the speed is not.
///
/// # Errors
///
/// Those of [`quantize`].
pub fn quantize_with(
    set: InstructionSet,
    ty: GgmlType,
    src: &[f32],
    columns: usize,
    importance: Option<&[f32]>,
    dst: &mut [u8],
) -> Result<(), QuantizeError> {
    check(ty, src, columns, importance, dst)?;
    dispatch!(ty, B => set.run(QuantizeRows::<B>::new(src, columns, importance, dst)))
}

/// Whether lengths and importance fit together.
fn check(
    ty: GgmlType,
    src: &[f32],
    columns: usize,
    importance: Option<&[f32]>,
    dst: &[u8],
) -> Result<(), QuantizeError> {
    let row_bytes = match ty.row_bytes(columns) {
        Some(bytes) if bytes > 0 => bytes,
        _ => return Err(QuantizeError::Columns { ty, columns }),
    };
    let expected = (src.len() / columns).saturating_mul(row_bytes);
    if !src.len().is_multiple_of(columns) || dst.len() != expected {
        let (values, found) = (src.len(), dst.len());
        return Err(QuantizeError::Length { ty, values, columns, expected, found });
    }
    if let Some(importance) = importance {
        if importance.len() != columns {
            let found = importance.len();
            return Err(QuantizeError::ImportanceLength { columns, found });
        }
        if let Some(column) = importance.iter().position(|x| !(x.is_finite() && *x >= 0.0)) {
            let value = importance[column];
            return Err(QuantizeError::BadImportance { column, value });
        }
    } else if needs_importance(ty) {
        return Err(QuantizeError::NeedsImportance(ty));
    }
    Ok(())
}

/// Weights that are looked at and then quantized by a rule: few enough that they are in the nearest
/// cache when they are read again.
const RULE_STEP: usize = 512;

/// Weights that are looked at and then quantized by a search: as many as one takes at once, at most.
const SEARCH_STEP: usize = 256 * MANY_SUPER_BLOCKS;

/// Rows to quantize.
pub(super) struct QuantizeRows<'a, B> {
    src: &'a [f32],
    columns: usize,
    importance: Option<&'a [f32]>,
    blocks: &'a mut [B],
}

impl<'a, B: Block> QuantizeRows<'a, B> {
    /// Rows of `columns` weights; `dst` takes exactly their blocks.
    pub fn new(
        src: &'a [f32],
        columns: usize,
        importance: Option<&'a [f32]>,
        dst: &'a mut [u8],
    ) -> Self {
        Self { src, columns, importance, blocks: bytemuck::cast_slice_mut(dst) }
    }
}

impl<B: Block> Work for QuantizeRows<'_, B> {
    type Output = Result<(), QuantizeError>;

    #[inline(always)]
    fn run<S: Search>(self, search: S) -> Self::Output {
        let Self { src, columns, importance, blocks } = self;
        let size = B::TYPE.block_size();
        // Without importance blocks depend on nothing but themselves.
        let mut step = match importance {
            Some(_) => columns,
            None if B::BY_RULE => RULE_STEP,
            None => SEARCH_STEP,
        };
        let mut start = 0;
        while start < src.len() {
            let end = src.len().min(start + step);
            let (x, y) = (&src[start..end], &mut blocks[start / size..end / size]);
            let largest = largest_magnitude(x);
            let fits = largest <= B::LARGEST && {
                B::quantize_row(search, Row { x, importance }, y);
                // All of them, without a way out between: that vectorizes.
                importance.is_none() && B::BY_RULE && largest <= F16_MAX
                    || y.iter().fold(true, |all, block| all & block.is_finite())
            };
            if fits {
                start = end;
            } else if step != columns {
                // Once more row by row, since errors are about rows.
                step = columns;
                start -= start % columns;
            } else {
                let row = start / columns;
                return Err(match x.iter().position(|v| !v.is_finite()) {
                    Some(column) => QuantizeError::NotFinite { row, column, value: x[column] },
                    None => QuantizeError::OutOfRange { ty: B::TYPE, row, largest },
                });
            }
        }
        Ok(())
    }
}

/// The largest magnitude; not finite if any value is not.
#[inline(always)]
pub(super) fn largest_magnitude(x: &[f32]) -> f32 {
    // Bits without the sign order as magnitudes do, with infinity and NaN above all numbers.
    f32::from_bits(x.iter().fold(0, |m, v| m.max(v.to_bits() & 0x7fff_ffff)))
}

/// Dequantizes any whole number of blocks; the floats are those of llama.cpp's `to_float`, to the
/// bit.
pub fn dequantize(ty: GgmlType, src: &[u8], dst: &mut [f32]) -> Result<(), DequantizeError> {
    dequantize_with(InstructionSet::best(), ty, src, dst)
}

/// [`dequantize`] with one set of instructions: the floats are the same, the speed is not.
///
/// # Errors
///
/// Those of [`dequantize`].
pub fn dequantize_with(
    set: InstructionSet,
    ty: GgmlType,
    src: &[u8],
    dst: &mut [f32],
) -> Result<(), DequantizeError> {
    if ty.row_bytes(dst.len()) != Some(src.len()) {
        return Err(DequantizeError::Length { ty, bytes: src.len(), values: dst.len() });
    }
    dispatch!(ty, B => {
        let set = if B::DEQUANTIZED_IN_CELLS { set.without_avx512() } else { set };
        set.run(DequantizeBlocks { blocks: bytemuck::cast_slice::<u8, B>(src), dst });
    });
    Ok(())
}

/// Blocks to dequantize.
struct DequantizeBlocks<'a, B> {
    blocks: &'a [B],
    dst: &'a mut [f32],
}

impl<B: Block> Work for DequantizeBlocks<'_, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Search>(self, _: S) {
        for (block, out) in self.blocks.iter().zip(self.dst.chunks_exact_mut(B::TYPE.block_size()))
        {
            block.dequantize(out);
            if B::TYPE.block_size() > 1 {
                // No instruction: it keeps the compiler from taking several blocks at a time, whose
                // weights it would have to gather and to scatter.
                compiler_fence(Ordering::SeqCst);
            }
        }
    }
}

/// Index of the first block that stands for a NaN or an infinity, read from its scales alone.
///
/// # Panics
///
/// If `src` is no whole number of blocks.
pub fn first_non_finite_block(ty: GgmlType, src: &[u8]) -> Option<usize> {
    dispatch!(ty, B => bytemuck::cast_slice::<u8, B>(src).iter().position(|b| !b.is_finite()))
}
