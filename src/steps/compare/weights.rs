//! All tensors of pairs of files: how far the weights of each pair lie apart.

use std::collections::HashSet;

use super::tensor::{Both, Found, Pair, Sums, look_at};
use super::{TensorError, TensorErrors, TypeDifference};
use crate::compute::ThreadPool;
use crate::gguf::{File, TensorInfo, TensorSource};
use crate::steps::{StepError, Unit};

/// Tensors named as the worst.
const WORST: usize = 10;

/// What comparing all tensors finds out.
pub struct ComparedFiles {
    pub type_differences: Vec<TypeDifference>,
    /// Tensors that only one of the files has, that differ in shape, or of whose weights nothing can be
    /// said but that they differ; in words.
    pub unmatched: Vec<String>,
    pub errors: TensorErrors,
    /// Every tensor that both have in the same shape, in the file's order.
    pub tensors: Vec<ComparedTensor>,
}

impl ComparedFiles {
    /// Of a file with itself.
    pub fn of_itself(file: &File) -> Self {
        let same = |info: &TensorInfo| ComparedTensor {
            identical: true,
            error: TensorError {
                name: info.name.to_string(),
                ggml_type: info.ggml_type,
                reference_type: info.ggml_type,
                relative_rmse: 0.0,
                max_abs: 0.0,
            },
            mean_abs: 0.0,
        };
        let tensors: Vec<ComparedTensor> = file.tensors().iter().map(same).collect();
        let errors = summarize(&tensors, 0.0);
        Self { type_differences: Vec::new(), unmatched: Vec::new(), errors, tensors }
    }
}

/// A tensor that both files have.
pub struct ComparedTensor {
    /// Whether type and bytes are the same.
    pub identical: bool,
    pub error: TensorError,
    /// Mean of the absolute differences.
    pub mean_abs: f64,
}

/// Compares in each pair every tensor that both files have in the same shape; byte by byte where
/// nothing can be computed with its type. A file that is in several pairs is read once.
///
/// # Errors
/// Of a pair [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a weight of one of its files
/// is not finite.
pub fn compare_all(pairs: &[Pair<'_>], pool: &ThreadPool) -> Vec<Result<ComparedFiles, StepError>> {
    let mut accounts: Vec<Account<'_>> = pairs.iter().map(|pair| Account::new(*pair)).collect();
    // In the first file's order, which is that of all files of one model.
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    for pair in pairs {
        let own = pair.file.tensors().iter().map(|tensor| tensor.name.bytes());
        names.extend(own.filter(|name| seen.insert(*name)));
    }
    for name in names {
        let of = accounts.iter().enumerate().filter(|(_, account)| account.failure.is_none());
        let of = of.filter_map(|(account, a)| Some((account, Both::find(a.pair, name)?)));
        let (numbers, tensors): (Vec<usize>, Vec<Both<'_>>) = of.unzip();
        for ((account, both), found) in numbers.iter().zip(&tensors).zip(look_at(&tensors, pool)) {
            accounts[*account].take_in(both, found);
        }
        for both in tensors {
            both.pair.file.release(both.number, 0..both.mine().rows());
            both.pair.reference.release(both.at, 0..both.theirs().rows());
        }
    }
    accounts.into_iter().map(Account::finish).collect()
}

/// What is known of a pair so far.
struct Account<'a> {
    pair: Pair<'a>,
    unmatched: Vec<String>,
    found: Vec<(Both<'a>, Found)>,
    done: u64,
    total: u64,
    failure: Option<StepError>,
}

impl<'a> Account<'a> {
    fn new(pair: Pair<'a>) -> Self {
        let Pair { file, reference, .. } = pair;
        let (mut unmatched, mut total) = (Vec::new(), 0);
        for info in file.tensors() {
            match reference.find_bytes(info.name.bytes()).map(|at| &reference.tensors()[at]) {
                Some(other) if other.shape == info.shape => total += info.bytes(),
                Some(other) => unmatched.push(format!(
                    "{} has shape {:?} here and {:?} in the reference",
                    info.name, info.shape, other.shape
                )),
                None => unmatched.push(format!("{} is not in the reference", info.name)),
            }
        }
        let only_there =
            reference.tensors().iter().filter(|t| file.find_bytes(t.name.bytes()).is_none());
        unmatched.extend(only_there.map(|t| format!("{} is in the reference only", t.name)));
        Self { pair, unmatched, found: Vec::new(), done: 0, total, failure: None }
    }

    fn take_in(&mut self, both: &Both<'a>, found: Result<Found, StepError>) {
        match found {
            Ok(found) => self.found.push((*both, found)),
            Err(error) => self.failure = Some(error),
        }
        self.done += both.mine().bytes();
        self.pair.ctx.progress(self.done, self.total, Unit::Bytes);
    }

    fn finish(mut self) -> Result<ComparedFiles, StepError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        self.found.sort_by_key(|(both, _)| both.number);
        let (mut type_differences, mut tensors) = (Vec::new(), Vec::new());
        let (mut overall, mut overall_weights) = (Sums::default(), 0);
        for (both, Found { identical, sums }) in self.found {
            let (info, other) = (both.mine(), both.theirs());
            if info.ggml_type != other.ggml_type {
                type_differences.push(TypeDifference {
                    name: info.name.to_string(),
                    ggml_type: info.ggml_type,
                    reference_type: other.ggml_type,
                });
            }
            if !identical && !both.is_computable() {
                self.unmatched.push(format!(
                    "{} differs: it is {} here and {} in the reference, whose weights cannot be \
                    compared",
                    info.name, info.ggml_type, other.ggml_type
                ));
                continue;
            }
            overall.add(sums);
            overall_weights += info.elements();
            tensors.push(ComparedTensor {
                identical,
                error: TensorError {
                    name: info.name.to_string(),
                    ggml_type: info.ggml_type,
                    reference_type: other.ggml_type,
                    relative_rmse: sums.relative_rmse(info.elements()),
                    max_abs: sums.max_abs,
                },
                mean_abs: sums.sum_abs / info.elements().max(1) as f64,
            });
        }
        let errors = summarize(&tensors, overall.relative_rmse(overall_weights));
        let unmatched = self.unmatched;
        Ok(ComparedFiles { type_differences, unmatched, errors, tensors })
    }
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
