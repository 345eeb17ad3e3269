//! Looks for weights that are no numbers, in every tensor of a file, on all threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::compute::ThreadPool;
use crate::ggml::{self, GgmlType};
use crate::gguf::{File, TensorInfo, TensorSource};
use crate::steps::{Context, StepError, Unit};

/// Bytes that one thread looks at in one go.
const CHUNK: usize = 1 << 20;

/// Checks that every weight of `file` is finite; a quantized block's scales decide for the block.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) naming the first tensor, row and columns
/// that are not, and their value.
pub fn check(file: &File, pool: &ThreadPool, ctx: &Context<'_>) -> Result<(), StepError> {
    let total: u64 = file.tensors().iter().map(TensorInfo::bytes).sum();
    let mut done = 0;
    for (number, info) in file.tensors().iter().enumerate() {
        let bytes = file.data(number);
        let ggml_type =
            info.computable().map_err(|e| StepError::input(format!("{}: {e}", file.path())))?;
        let bad = first_bad_block(ggml_type, bytes, pool, ctx);
        ctx.check_cancelled()?;
        if let Some(block) = bad {
            return Err(not_finite(file, (info, ggml_type), bytes, block));
        }
        // The check reads the whole file once; a file larger than memory must not fill it.
        file.release(number, 0..info.rows());
        done += info.bytes();
        ctx.progress(done, total, Unit::Bytes);
    }
    Ok(())
}

/// The number of the first block that stands for a NaN or an infinity; it means nothing once the
/// step is to stop.
fn first_bad_block(
    ggml_type: GgmlType,
    bytes: &[u8],
    pool: &ThreadPool,
    ctx: &Context<'_>,
) -> Option<usize> {
    let size = ggml_type.block_bytes();
    let blocks = bytes.len() / size;
    let first = AtomicUsize::new(usize::MAX);
    pool.for_blocks(blocks, CHUNK / size, |range: Range<usize>| {
        if range.start > first.load(Ordering::Relaxed) || ctx.cancelled.load(Ordering::Relaxed) {
            return;
        }
        let part = &bytes[range.start * size..range.end * size];
        if let Some(block) = ggml::first_non_finite_block(ggml_type, part) {
            first.fetch_min(range.start + block, Ordering::Relaxed);
        }
    });
    let first = first.into_inner();
    (first != usize::MAX).then_some(first)
}

/// The failure, with the place and the value of the first weight that is no number.
fn not_finite(
    file: &File,
    (info, ggml_type): (&TensorInfo, GgmlType),
    bytes: &[u8],
    block: usize,
) -> StepError {
    let (size, width) = (ggml_type.block_bytes(), ggml_type.block_size());
    let mut weights = vec![0.0; width];
    let block_bytes = &bytes[block * size..(block + 1) * size];
    let found = match ggml::dequantize(ggml_type, block_bytes, &mut weights) {
        Ok(()) => weights.iter().position(|w| !w.is_finite()),
        Err(_) => None,
    };
    let weight = block * width + found.unwrap_or(0);
    let (row, column) = (weight / info.columns(), weight % info.columns());
    let value = found.map_or("a scale that is not finite".to_owned(), |at| weights[at].to_string());
    StepError::input(format!(
        "{}: tensor {} ({}, {} rows of {}), row {row}, column {column}: expected a finite \
        weight, found {value}; the file is damaged or was made from damaged weights: make it \
        again",
        file.path(),
        info.name,
        info.ggml_type,
        info.rows(),
        info.columns(),
    ))
}
