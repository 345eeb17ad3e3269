//! Tensor by tensor: how far the dequantized weights of two files lie apart.

use std::collections::HashSet;
use std::ops::Range;

use super::{TensorError, TensorErrors, TypeDifference};
use crate::compute::ThreadPool;
use crate::ggml;
use crate::gguf::{File, TensorInfo, TensorSource};
use crate::steps::{Context, StepError, Unit};

/// Weights that one thread compares in one go, about.
const CHUNK: usize = 1 << 16;

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

/// A file and what it is held against.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub file: &'a File,
    pub reference: &'a File,
    /// Hears how far it is.
    pub ctx: &'a Context<'a>,
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

/// A tensor that both files of a pair have in the same shape.
#[derive(Clone, Copy)]
struct Both<'a> {
    pair: Pair<'a>,
    /// Its number in the file, and in the reference.
    number: usize,
    at: usize,
}

impl<'a> Both<'a> {
    fn find(pair: Pair<'a>, name: &[u8]) -> Option<Self> {
        let (number, at) = (pair.file.find_bytes(name)?, pair.reference.find_bytes(name)?);
        let both = Self { pair, number, at };
        (both.mine().shape == both.theirs().shape).then_some(both)
    }

    fn mine(&self) -> &'a TensorInfo {
        &self.pair.file.tensors()[self.number]
    }

    fn theirs(&self) -> &'a TensorInfo {
        &self.pair.reference.tensors()[self.at]
    }

    /// Whether floats can be made of both.
    fn is_computable(&self) -> bool {
        self.mine().ggml_type.computable().and(self.theirs().ggml_type.computable()).is_some()
    }
}

/// What is found out of a tensor that both have.
#[derive(Clone, Copy)]
struct Found {
    /// Whether the bytes are the same, and the type.
    identical: bool,
    sums: Sums,
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

/// Looks at one tensor of several pairs; the sums are the same at any number of threads.
fn look_at(tensors: &[Both<'_>], pool: &ThreadPool) -> Vec<Result<Found, StepError>> {
    let Some(first) = tensors.first() else { return Vec::new() };
    let (rows, columns) = (first.mine().rows(), first.mine().columns());
    let rows_per_chunk = (CHUNK / columns.max(1)).max(1);
    let chunks: Vec<Range<usize>> =
        (0..rows).step_by(rows_per_chunk).map(|r| r..rows.min(r + rows_per_chunk)).collect();
    let cancelled = || first.pair.ctx.check_cancelled().is_err();
    let found = pool.map(chunks.len(), |chunk| {
        if cancelled() {
            return Vec::new();
        }
        let mut floats = Floats { rows: chunks[chunk].clone(), made: Vec::new() };
        tensors.iter().map(|both| look_at_chunk(both, &mut floats)).collect()
    });
    let whole = |(place, both): (usize, &Both<'_>)| {
        first.pair.ctx.check_cancelled()?;
        let identical = both.mine().ggml_type == both.theirs().ggml_type;
        let mut whole = Found { identical, sums: Sums::default() };
        // In the chunks' order, so that the sum does not depend on who was first.
        for chunk in &found {
            let part = chunk.get(place).copied().flatten().ok_or_else(|| unreadable(both))?;
            whole.identical &= part.identical;
            whole.sums.add(part.sums);
        }
        let Sums { squared_difference, squared_reference, .. } = whole.sums;
        if !(squared_difference.is_finite() && squared_reference.is_finite()) {
            return Err(not_finite(both));
        }
        Ok(whole)
    };
    tensors.iter().enumerate().map(whole).collect()
}

/// Looks at some rows; `None` if floats cannot be made of them.
fn look_at_chunk<'a>(both: &Both<'a>, floats: &mut Floats<'a>) -> Option<Found> {
    let Pair { file, reference, .. } = both.pair;
    let identical = floats.bytes(file, both.number) == floats.bytes(reference, both.at);
    if !both.is_computable() {
        return Some(Found { identical, sums: Sums::default() });
    }
    let theirs = floats.of(reference, both.at)?;
    // What the same bytes of another type stand for is something else.
    if identical && both.mine().ggml_type == both.theirs().ggml_type {
        let sums = Sums { squared_reference: floats.made[theirs].squares(), ..Sums::default() };
        return Some(Found { identical, sums });
    }
    let mine = floats.of(file, both.number)?;
    let sums = sums_of(&floats.made[mine].floats, &floats.made[theirs].floats);
    Some(Found { identical, sums })
}

/// Some rows of a tensor as floats, those of each file made once.
struct Floats<'a> {
    rows: Range<usize>,
    made: Vec<FileFloats<'a>>,
}

/// Those of one file.
struct FileFloats<'a> {
    file: &'a File,
    floats: Vec<f32>,
    /// The sum of their squares, once somebody has asked.
    squares: Option<f64>,
}

impl FileFloats<'_> {
    fn squares(&mut self) -> f64 {
        let sum = || sums_of(&self.floats, &self.floats).squared_reference;
        *self.squares.get_or_insert_with(sum)
    }
}

impl<'a> Floats<'a> {
    fn bytes(&self, file: &'a File, number: usize) -> &'a [u8] {
        let row_bytes = file.tensors()[number].row_bytes();
        &file.data(number)[self.rows.start * row_bytes..self.rows.end * row_bytes]
    }

    /// Where the floats of a file's tensor are.
    fn of(&mut self, file: &'a File, number: usize) -> Option<usize> {
        if let Some(made) = self.made.iter().position(|made| std::ptr::eq(made.file, file)) {
            return Some(made);
        }
        let info = &file.tensors()[number];
        let mut floats = vec![0.0; self.rows.len() * info.columns()];
        ggml::dequantize(info.ggml_type.computable()?, self.bytes(file, number), &mut floats)
            .ok()?;
        self.made.push(FileFloats { file, floats, squares: None });
        Some(self.made.len() - 1)
    }
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

fn unreadable(both: &Both<'_>) -> StepError {
    let (info, other) = (both.mine(), both.theirs());
    StepError::input(format!(
        "tensor {} cannot be compared: it is {} in {} and {} in {}, and this build cannot read \
        both",
        info.name,
        info.ggml_type,
        both.pair.file.path(),
        other.ggml_type,
        both.pair.reference.path()
    ))
}

fn not_finite(both: &Both<'_>) -> StepError {
    StepError::input(format!(
        "tensor {} has weights that are not finite in {} or {}; qrun check FILE says where",
        both.mine().name,
        both.pair.file.path(),
        both.pair.reference.path()
    ))
}
