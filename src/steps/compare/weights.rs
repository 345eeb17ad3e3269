//! Tensor by tensor: how far the dequantized weights of two files lie apart.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::{TensorError, TensorErrors, TypeDifference};
use crate::compute::ThreadPool;
use crate::ggml::{self, GgmlType};
use crate::gguf::{File, TensorInfo, TensorSource};
use crate::steps::{Context, ErrorClass, StepError, Unit};

/// Weights that one thread compares in one go, about.
const CHUNK: usize = 1 << 16;

/// Tensors named as the worst.
const WORST: usize = 10;

/// What comparing all tensors finds out.
pub struct Comparison {
    pub type_differences: Vec<TypeDifference>,
    /// Tensors that only one of the files has, that differ in shape, or of whose weights nothing can be
    /// said but that they differ; in words.
    pub unmatched: Vec<String>,
    pub errors: TensorErrors,
    /// Every tensor that both have in the same shape, in the file's order.
    pub tensors: Vec<ComparedTensor>,
}

/// A tensor that both files have.
pub struct ComparedTensor {
    /// Whether type and bytes are the same.
    pub identical: bool,
    pub error: TensorError,
    /// Mean of the absolute differences.
    pub mean_abs: f64,
}

/// Sums over some weights.
#[derive(Clone, Copy, Default)]
struct Sums {
    squared_difference: f64,
    squared_reference: f64,
    sum_abs: f64,
    max_abs: f64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.squared_difference += other.squared_difference;
        self.squared_reference += other.squared_reference;
        self.sum_abs += other.sum_abs;
        self.max_abs = self.max_abs.max(other.max_abs);
    }

    /// Relative RMSE, or for a reference of `weights` zeros the RMSE.
    fn relative_rmse(&self, weights: u64) -> f64 {
        if self.squared_reference > 0.0 {
            (self.squared_difference / self.squared_reference).sqrt()
        } else {
            (self.squared_difference / weights.max(1) as f64).sqrt()
        }
    }
}

/// Compares every tensor that both files have in the same shape; byte by byte where nothing can be
/// computed with its type.
///
/// # Errors
/// [`ErrorClass::Input`] if a weight is not finite.
pub fn compare(
    file: &File,
    reference: &File,
    pool: &ThreadPool,
    ctx: &Context<'_>,
) -> Result<Comparison, StepError> {
    let mut pairs = Vec::new();
    let mut unmatched = Vec::new();
    for (number, info) in file.tensors().iter().enumerate() {
        match reference.find_bytes(info.name.bytes()).map(|at| (at, &reference.tensors()[at])) {
            Some((at, other)) if other.shape == info.shape => pairs.push((number, at)),
            Some((_, other)) => unmatched.push(format!(
                "{} has shape {:?} here and {:?} in the reference",
                info.name, info.shape, other.shape
            )),
            None => unmatched.push(format!("{} is not in the reference", info.name)),
        }
    }
    let only_there =
        reference.tensors().iter().filter(|t| file.find_bytes(t.name.bytes()).is_none());
    unmatched.extend(only_there.map(|t| format!("{} is in the reference only", t.name)));

    let total = pairs.iter().map(|(number, _)| file.tensors()[*number].bytes()).sum();
    let mut done = 0;
    let mut type_differences = Vec::new();
    let mut overall = Sums::default();
    let mut overall_weights = 0;
    let mut tensors = Vec::new();
    for &(number, at) in &pairs {
        ctx.check_cancelled()?;
        let (info, other) = (&file.tensors()[number], &reference.tensors()[at]);
        if info.ggml_type != other.ggml_type {
            type_differences.push(TypeDifference {
                name: info.name.to_string(),
                ggml_type: info.ggml_type,
                reference_type: other.ggml_type,
            });
        }
        let same = info.ggml_type == other.ggml_type && file.data(number) == reference.data(at);
        let sums = match (info.ggml_type.computable(), other.ggml_type.computable()) {
            (Some(mine), Some(theirs)) => {
                tensor_sums((file, number, mine), (reference, at, theirs), pool, ctx)?
            }
            _ if same => Sums::default(),
            _ => {
                unmatched.push(format!(
                    "{} differs: it is {} here and {} in the reference, whose weights cannot be compared",
                    info.name, info.ggml_type, other.ggml_type
                ));
                continue;
            }
        };
        overall.add(sums);
        overall_weights += info.elements();
        tensors.push(ComparedTensor {
            identical: same,
            error: TensorError {
                name: info.name.to_string(),
                ggml_type: info.ggml_type,
                reference_type: other.ggml_type,
                relative_rmse: sums.relative_rmse(info.elements()),
                max_abs: sums.max_abs,
            },
            mean_abs: sums.sum_abs / info.elements().max(1) as f64,
        });
        file.release(number, 0..info.rows());
        reference.release(at, 0..other.rows());
        done += info.bytes();
        ctx.progress(done, total, Unit::Bytes);
    }
    let errors = summarize(&tensors, overall.relative_rmse(overall_weights));
    Ok(Comparison { type_differences, unmatched, errors, tensors })
}

fn summarize(compared: &[ComparedTensor], relative_rmse: f64) -> TensorErrors {
    let mut sorted: Vec<&ComparedTensor> = compared.iter().collect();
    // Stable: equal errors stay in file order.
    sorted.sort_by(|a, b| b.error.relative_rmse.total_cmp(&a.error.relative_rmse));
    let tensors = sorted.len();
    let median = match tensors {
        0 => 0.0,
        n => (sorted[(n - 1) / 2].error.relative_rmse + sorted[n / 2].error.relative_rmse) / 2.0,
    };
    let worst = sorted.iter().filter(|t| !t.identical).map(|t| t.error.clone()).take(WORST);
    TensorErrors {
        tensors,
        identical: compared.iter().filter(|t| t.identical).count(),
        relative_rmse,
        median_relative_rmse: median,
        worst: worst.collect(),
    }
}

/// The sums over one tensor; the same at any number of threads.
fn tensor_sums(
    (file, number, mine): (&File, usize, GgmlType),
    (reference, at, theirs): (&File, usize, GgmlType),
    pool: &ThreadPool,
    ctx: &Context<'_>,
) -> Result<Sums, StepError> {
    let (info, other) = (&file.tensors()[number], &reference.tensors()[at]);
    let (rows, columns) = (info.rows(), info.columns());
    let rows_per_chunk = (CHUNK / columns.max(1)).max(1);
    let chunks = rows.div_ceil(rows_per_chunk);
    let results = Mutex::new(vec![None; chunks]);
    pool.for_blocks(chunks, 1, |range| {
        for chunk in range {
            if ctx.cancelled.load(Ordering::Relaxed) {
                return;
            }
            let rows = chunk * rows_per_chunk..rows.min((chunk + 1) * rows_per_chunk);
            let part = |ggml_type, info: &TensorInfo, data: &'_ [u8]| {
                let bytes = &data[rows.start * info.row_bytes()..rows.end * info.row_bytes()];
                weights(ggml_type, bytes, rows.len() * columns)
            };
            let sums = part(mine, info, file.data(number))
                .zip(part(theirs, other, reference.data(at)))
                .map(|(mine, theirs)| sums_of(&mine, &theirs));
            if let Ok(mut results) = results.lock() {
                results[chunk] = sums;
            }
        }
    });
    ctx.check_cancelled()?;
    // In the chunks' order, so that the sum does not depend on who was first.
    let mut total = Sums::default();
    for sums in results.into_inner().unwrap_or_default() {
        let Some(sums) = sums else { return Err(unreadable(file, info, reference, other)) };
        total.add(sums);
    }
    if !(total.squared_difference.is_finite() && total.squared_reference.is_finite()) {
        return Err(StepError::new(
            ErrorClass::Input,
            format!(
                "tensor {} has weights that are not finite in {} or {}; qrun check FILE says where",
                info.name,
                file.path(),
                reference.path()
            ),
        ));
    }
    Ok(total)
}

fn weights(ggml_type: GgmlType, bytes: &[u8], count: usize) -> Option<Vec<f32>> {
    let mut weights = vec![0.0; count];
    ggml::dequantize(ggml_type, bytes, &mut weights).ok()?;
    Some(weights)
}

fn sums_of(mine: &[f32], theirs: &[f32]) -> Sums {
    let mut sums = Sums::default();
    for (a, b) in mine.iter().zip(theirs) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        sums.squared_difference += (a - b) * (a - b);
        sums.squared_reference += b * b;
        sums.sum_abs += (a - b).abs();
        sums.max_abs = sums.max_abs.max((a - b).abs());
    }
    sums
}

fn unreadable(file: &File, info: &TensorInfo, reference: &File, other: &TensorInfo) -> StepError {
    StepError::new(
        ErrorClass::Input,
        format!(
            "tensor {} cannot be compared: it is {} in {} and {} in {}, and this build cannot read \
             both",
            info.name,
            info.ggml_type,
            file.path(),
            other.ggml_type,
            reference.path()
        ),
    )
}
