//! A file against one reference: size, types, tensor-wise error, greedy agreement. Distances over a
//! text are the evaluation's.

mod greedy;
mod result;
mod spec;
mod tensor;
mod weights;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Context, ErrorClass, Level, StepError};
use crate::compute::ThreadPool;
use crate::gguf::{File, TensorSource};

pub use result::*;
pub use spec::CompareSpec;
use tensor::Pair;
pub use weights::{ComparedFiles, ComparedTensor};

/// Compares the files.
///
/// # Errors
/// As [`run_all`] of this one.
pub fn run(spec: &CompareSpec, ctx: &Context<'_>) -> Result<CompareResult, StepError> {
    // One comparison in, one result out.
    run_all(&[(spec, ctx)]).remove(0)
}

/// Compares the files of several comparisons: each file is read once for all of them, and loaded once.
/// Files that are known to be the same are not read at all. What it answers for each is what it would
/// answer for that one alone.
///
/// # Errors
/// Of each [`ErrorClass::Input`] if a file is missing, damaged or no model, or the two do not share
/// a vocabulary; [`ErrorClass::Usage`] if no token is to be generated or too many.
pub fn run_all(steps: &[(&CompareSpec, &Context<'_>)]) -> Vec<Result<CompareResult, StepError>> {
    // The models are loaded one at a time, without maps of the same files beside them.
    let mut results = as_files(steps);
    let others: Vec<_> = results.iter().map(|r| matches!(r, Ok((_, Same::Unknown)))).collect();
    let others = steps.iter().zip(others).filter_map(|(step, other)| other.then_some(*step));
    let mut agreements = greedy::agreements(&others.collect::<Vec<_>>()).into_iter();
    for (result, (_, ctx)) in results.iter_mut().zip(steps) {
        if let Ok((found, Same::Unknown)) = result {
            match agreements.next() {
                Some(Ok(greedy)) => found.greedy = greedy,
                Some(Err(error)) => *result = Err(error),
                None => {}
            }
        }
        if let Ok((CompareResult { greedy, .. }, _)) = result {
            ctx.log(
                Level::Info,
                format!(
                    "greedy: the first {} of {} tokens alike, {:.1}% after the same text",
                    greedy.agreeing_prefix,
                    greedy.tokens,
                    greedy.share * 100.0
                ),
            );
        }
    }
    results.into_iter().map(|result| Ok(result?.0)).collect()
}

/// What is known of two files from their digests.
#[derive(Clone, Copy)]
enum Same {
    Bytes,
    Unknown,
}

/// Compares the files without computing with the models, which are taken to agree.
fn as_files(
    steps: &[(&CompareSpec, &Context<'_>)],
) -> Vec<Result<(CompareResult, Same), StepError>> {
    let threads = steps.first().map_or(1, |(_, ctx)| ctx.threads);
    let pool = match ThreadPool::new(threads) {
        Ok(pool) => pool,
        Err(e) => {
            let error = StepError::from_error(ErrorClass::Host, &e);
            return steps.iter().map(|_| Err(error.clone())).collect();
        }
    };
    let mut files = BTreeMap::new();
    for (spec, _) in steps {
        for path in [&spec.gguf.path, &spec.reference.gguf.path] {
            files.entry(path.clone()).or_insert_with(|| open(path));
        }
    }
    let file = |path: &Utf8PathBuf| files[path].as_ref().map_err(StepError::clone);
    let pair = |spec: &CompareSpec, ctx| -> Result<(Pair<'_>, Same), StepError> {
        if spec.greedy_tokens == 0 {
            let message = "compare: greedy_tokens is 0; expected at least 1";
            return Err(StepError::usage(message));
        }
        let (file, reference) = (file(&spec.gguf.path)?, file(&spec.reference.gguf.path)?);
        let (of_file, of_reference) = (digests(file, ctx), digests(reference, ctx));
        let same = of_file.is_some() && of_file == of_reference;
        let same = if same { Same::Bytes } else { Same::Unknown };
        Ok((Pair { file, reference, ctx }, same))
    };
    let pairs: Vec<_> = steps.iter().map(|(spec, ctx)| pair(spec, *ctx)).collect();
    let to_read = pairs.iter().flatten().filter(|(_, same)| matches!(same, Same::Unknown));
    let to_read: Vec<Pair<'_>> = to_read.map(|(pair, _)| *pair).collect();
    let mut compared = weights::compare_all(&to_read, &pool).into_iter();
    let mut result = |spec: &CompareSpec, pair: Result<(Pair<'_>, Same), StepError>| {
        let (pair, same) = pair?;
        let compared = match same {
            Same::Bytes => ComparedFiles::of_itself(pair.file),
            Same::Unknown => compared.next().ok_or_else(not_compared)??,
        };
        Ok((facts(spec, pair, compared), same))
    };
    steps.iter().zip(pairs).map(|((spec, _), pair)| result(spec, pair)).collect()
}

/// All that is said of a pair; it is taken to agree on every token.
fn facts(spec: &CompareSpec, pair: Pair<'_>, compared: ComparedFiles) -> CompareResult {
    let Pair { file, reference, ctx } = pair;
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
    let tokens = spec.greedy_tokens as usize;
    CompareResult {
        bytes: file.file_bytes(),
        reference_bytes: reference.file_bytes(),
        bits_per_weight: file.bits_per_weight(),
        reference_bits_per_weight: reference.bits_per_weight(),
        types: types(file),
        reference_types: types(reference),
        type_differences: compared.type_differences,
        unmatched: compared.unmatched,
        tensor_error: compared.errors,
        greedy: GreedyAgreement { tokens, agreeing_prefix: tokens, share: 1.0 },
    }
}

/// The digests of all parts of a file, where all are known.
fn digests<'a>(file: &File, ctx: &'a Context<'_>) -> Option<Vec<&'a String>> {
    file.parts().map(|(path, _)| ctx.digests.get(path)).collect()
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
) -> Result<(File, File, ComparedFiles), StepError> {
    let pool =
        ThreadPool::new(ctx.threads).map_err(|e| StepError::from_error(ErrorClass::Host, &e))?;
    let (file, reference) = (open(file)?, open(reference)?);
    let pair = Pair { file: &file, reference: &reference, ctx };
    let compared = weights::compare_all(&[pair], &pool).pop().ok_or_else(not_compared)??;
    Ok((file, reference, compared))
}

fn not_compared() -> StepError {
    StepError::bug("two files were not compared")
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
