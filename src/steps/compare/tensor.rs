//! One tensor of several pairs of files: how far its dequantized weights lie apart in each.

use std::ops::Range;

use crate::compute::ThreadPool;
use crate::ggml;
use crate::gguf::{File, TensorInfo, TensorSource};
use crate::steps::{Context, StepError};

/// Weights that one thread compares in one go, about.
const CHUNK: usize = 1 << 16;

/// A file and what it is held against.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub file: &'a File,
    pub reference: &'a File,
    /// Hears how far it is.
    pub ctx: &'a Context<'a>,
}

/// A tensor that both files of a pair have in the same shape.
#[derive(Clone, Copy)]
pub struct Both<'a> {
    pub pair: Pair<'a>,
    /// Its number in the file, and in the reference.
    pub number: usize,
    pub at: usize,
}

impl<'a> Both<'a> {
    pub fn find(pair: Pair<'a>, name: &[u8]) -> Option<Self> {
        let (number, at) = (pair.file.find_bytes(name)?, pair.reference.find_bytes(name)?);
        let both = Self { pair, number, at };
        (both.mine().shape == both.theirs().shape).then_some(both)
    }

    pub fn mine(&self) -> &'a TensorInfo {
        &self.pair.file.tensors()[self.number]
    }

    pub fn theirs(&self) -> &'a TensorInfo {
        &self.pair.reference.tensors()[self.at]
    }

    /// Whether floats can be made of both.
    pub fn is_computable(&self) -> bool {
        self.mine().ggml_type.computable().and(self.theirs().ggml_type.computable()).is_some()
    }
}

/// What is found out of a tensor that both have.
#[derive(Clone, Copy)]
pub struct Found {
    /// Whether the bytes are the same, and the type.
    pub identical: bool,
    pub sums: Sums,
}

/// Sums over some weights.
#[derive(Clone, Copy, Default)]
pub struct Sums {
    pub squared_difference: f64,
    pub squared_reference: f64,
    pub sum_abs: f64,
    pub max_abs: f64,
}

impl Sums {
    pub fn add(&mut self, other: Sums) {
        self.squared_difference += other.squared_difference;
        self.squared_reference += other.squared_reference;
        self.sum_abs += other.sum_abs;
        self.max_abs = self.max_abs.max(other.max_abs);
    }

    /// Relative RMSE, or for a reference of `weights` zeros the RMSE.
    pub fn relative_rmse(&self, weights: u64) -> f64 {
        if self.squared_reference > 0.0 {
            (self.squared_difference / self.squared_reference).sqrt()
        } else {
            (self.squared_difference / weights.max(1) as f64).sqrt()
        }
    }
}

/// Looks at one tensor of several pairs; the sums are the same at any number of threads.
pub fn look_at(tensors: &[Both<'_>], pool: &ThreadPool) -> Vec<Result<Found, StepError>> {
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
