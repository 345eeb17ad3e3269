//! Importance matrices: how much each column of a tensor weighs, as llama-imatrix measured it over a
//! text. Reads both formats that llama-quantize reads and does its arithmetic. Knows nothing of
//! models and of what importance is used for.

mod older;
mod tensors;

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::Error;
use crate::files::Map;

/// Bytes of a stored value.
const VALUE: usize = size_of::<f32>();

/// An open importance matrix, memory-mapped: its values stay in the file until they are asked for.
#[derive(Debug)]
pub struct Imatrix {
    path: Utf8PathBuf,
    map: Map,
    contents: Contents,
}

/// What either format says.
#[derive(Debug, Default)]
struct Contents {
    /// By the name of the tensor; at least one.
    entries: BTreeMap<String, Entry>,
    /// The texts that were measured over.
    datasets: Vec<String>,
    /// Pieces of text that were measured; not positive where that is not known.
    chunks: i32,
}

/// One tensor's sums.
#[derive(Debug)]
struct Entry {
    /// Where in the file its `f32` values are, of one matrix after the other.
    values: Range<usize>,
    /// What the sums are divided by, for equal parts of the values in turn; at least one. `None`
    /// where nothing was measured, as for an expert that no token was given to.
    counts: Vec<Option<f32>>,
}

impl Entry {
    /// Values in all.
    fn len(&self) -> usize {
        self.values.len() / VALUE
    }
}

/// The importance of one tensor's columns, for each of its matrices in turn.
#[derive(Clone, Copy, Debug)]
pub struct Importance<'a> {
    sums: &'a [u8],
    counts: &'a [Option<f32>],
}

impl Imatrix {
    /// Opens the file at `path`, a GGUF file or one in llama-imatrix's older format, and checks all
    /// that it says but its values.
    ///
    /// # Errors
    /// If it cannot be opened, is neither, or contradicts itself.
    pub fn open(path: impl AsRef<Utf8Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let map = Map::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let read = if map.starts_with(b"GGUF") { tensors::read } else { older::read };
        let contents = read(path, &map)?;
        Ok(Self { path: path.to_owned(), map, contents })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The names of the tensors that were measured, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.contents.entries.keys().map(String::as_str)
    }

    /// The texts that were measured over, as far as the file names them.
    pub fn datasets(&self) -> &[String] {
        &self.contents.datasets
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Pieces of text that were measured, where the file says.
    pub fn chunks(&self) -> Option<u32> {
        self.contents.chunks.try_into().ok().filter(|&n| n > 0)
    }

    /// What was measured of the tensor `name`.
    pub fn get(&self, name: &str) -> Option<Importance<'_>> {
        self.contents.entries.get(name).map(|entry| self.importance(entry))
    }

    fn importance<'a>(&'a self, entry: &'a Entry) -> Importance<'a> {
        Importance { sums: &self.map[entry.values.clone()], counts: &entry.counts }
    }

    /// Reads every value.
    ///
    /// # Errors
    /// The first tensor, by name, with an importance that is not a finite number of at least 0.
    pub fn check_values(&self) -> Result<(), Error> {
        for (name, entry) in &self.contents.entries {
            let bad = |value: &f32| !(value.is_finite() && *value >= 0.0);
            let mut values = self.importance(entry).values(0..entry.len());
            if let Some((index, value)) = values.by_ref().enumerate().find(|(_, v)| bad(v)) {
                return Err(Error::Tensor {
                    path: self.path.clone(),
                    tensor: name.clone(),
                    expected: "an importance that is a finite number of at least 0".to_owned(),
                    found: format!("{value} as value {index}; make the matrix again"),
                });
            }
        }
        Ok(())
    }
}

impl<'a> Importance<'a> {
    /// Values in all: columns times matrices.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(self) -> usize {
        self.sums.len() / VALUE
    }

    /// Replaces what `out` holds with the importance of the columns of matrix number `matrix`.
    ///
    /// # Panics
    /// If there are no `columns` values for that matrix.
    pub fn read(self, matrix: usize, columns: usize, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.values(matrix * columns..(matrix + 1) * columns));
    }

    /// Whether anything was measured of matrix number `matrix`; if not, as of an expert that no token
    /// was given to, all of its columns weigh 1.
    ///
    /// # Panics
    /// If there are no `columns` values for that matrix.
    pub fn is_measured(self, matrix: usize, columns: usize) -> bool {
        let each = self.len() / self.counts.len();
        self.counts[matrix * columns / each].is_some()
    }

    fn values(self, range: Range<usize>) -> impl Iterator<Item = f32> + 'a {
        let each = self.len() / self.counts.len();
        let bytes = &self.sums[range.start * VALUE..range.end * VALUE];
        bytes.as_chunks().0.iter().zip(range).map(move |(bytes, index)| {
            match self.counts[index / each] {
                Some(count) => f32::from_le_bytes(*bytes) / count,
                None => 1.0,
            }
        })
    }
}

#[cfg(test)]
mod tests;
