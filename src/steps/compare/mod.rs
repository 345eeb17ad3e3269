//! A file against one reference: size, types, tensor-wise error, greedy agreement. Distances over a
//! text are the evaluation's.

mod greedy;
mod result;
mod spec;
mod weights;

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::{Context, ErrorClass, Level, StepError};
use crate::compute::ThreadPool;
use crate::gguf::{File, TensorSource};

pub use result::*;
pub use spec::CompareSpec;
pub use weights::{ComparedTensor, Comparison};

/// Compares the files.
///
/// # Errors
/// [`ErrorClass::Input`] if a file is missing, damaged or no model, or the two do not share a
/// vocabulary; [`ErrorClass::Usage`] if no token is to be generated or too many.
pub fn run(spec: &CompareSpec, ctx: &Context<'_>) -> Result<CompareResult, StepError> {
    if spec.greedy_tokens == 0 {
        return Err(StepError::new(
            ErrorClass::Usage,
            "compare: greedy_tokens is 0; expected at least 1",
        ));
    }
    let pool =
        ThreadPool::new(ctx.threads).map_err(|e| StepError::from_error(ErrorClass::Host, &e))?;
    let file = open(&spec.gguf)?;
    let reference = open(&spec.reference.gguf)?;
    let compared = weights::compare(&file, &reference, &pool, ctx)?;
    ctx.log(
        Level::Info,
        format!(
            "{} tensors compared, {} identical, {} of another type, {} without a counterpart; \
             relative RMSE {:.6}",
            compared.errors.tensors,
            compared.errors.identical,
            compared.type_differences.len(),
            compared.unmatched.len(),
            compared.errors.relative_rmse
        ),
    );
    let (bytes, reference_bytes) = (file.file_bytes(), reference.file_bytes());
    let (types, reference_types) = (types(&file), types(&reference));
    let (bits_per_weight, reference_bits_per_weight) =
        (file.bits_per_weight(), reference.bits_per_weight());
    // The models are loaded one at a time, without these maps of the same files beside them.
    drop((file, reference));
    let greedy = greedy::agreement(spec, ctx)?;
    ctx.log(
        Level::Info,
        format!(
            "greedy: the first {} of {} tokens alike, {:.1}% after the same text",
            greedy.agreeing_prefix,
            greedy.tokens,
            greedy.share * 100.0
        ),
    );
    Ok(CompareResult {
        bytes,
        reference_bytes,
        bits_per_weight,
        reference_bits_per_weight,
        types,
        reference_types,
        type_differences: compared.type_differences,
        unmatched: compared.unmatched,
        tensor_error: compared.errors,
        greedy,
    })
}

/// Compares the files' weights, tensor by tensor, without computing with the models.
///
/// # Errors
/// [`ErrorClass::Input`] if a file is missing or damaged, or has weights that are not finite or of
/// a type that cannot be read.
pub fn tensors(
    file: &Utf8Path,
    reference: &Utf8Path,
    ctx: &Context<'_>,
) -> Result<(File, File, Comparison), StepError> {
    let pool =
        ThreadPool::new(ctx.threads).map_err(|e| StepError::from_error(ErrorClass::Host, &e))?;
    let (file, reference) = (open(file)?, open(reference)?);
    let compared = weights::compare(&file, &reference, &pool, ctx)?;
    Ok((file, reference, compared))
}

fn open(path: &Utf8Path) -> Result<File, StepError> {
    File::open(path).map_err(|e| StepError::from_error(ErrorClass::Input, &e))
}

/// Tensors per type.
fn types(file: &File) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for tensor in file.tensors() {
        *counts.entry(tensor.ggml_type.to_string()).or_default() += 1;
    }
    counts
}
