//! An open model: the mapped bytes of its file, or of all its parts, and what their headers say. Knows
//! nothing of what tensors mean.

use std::collections::HashMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::part::{Contents, Numbered, Part};
use super::parts::{SPLIT_NO, SPLIT_TENSORS, part_path, whole_path};
use super::values::Keep;
use super::{Error, Metadata, SourceError, TensorInfo, TensorSource};
use crate::files::Map;

/// An open model, memory-mapped: a GGUF file, or a set of them that llama-gguf-split or a converter made
/// of one, which are one source.
#[derive(Debug)]
pub struct File {
    path: Utf8PathBuf,
    /// In order; at least one.
    parts: Vec<Part>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    places: Vec<Place>,
    by_name: HashMap<Vec<u8>, usize>,
}

/// Where a tensor's data is.
#[derive(Clone, Debug)]
struct Place {
    /// Number of the part.
    part: usize,
    /// Its bytes in that file.
    range: Range<usize>,
}

impl File {
    /// Opens the file at `path` and checks its whole header: magic, version, counts, strings,
    /// duplicate keys and names, shapes, block sizes, and that every tensor's data is aligned, inside
    /// the file and disjoint from the others'. If it is one of several parts, whichever it is, all are
    /// opened, found by their names beside it; and they have to be one set.
    ///
    /// # Errors
    /// Whatever of that does not hold, with the offset, what was expected and what was found.
    pub fn open(path: impl AsRef<Utf8Path>) -> Result<Self, Error> {
        Self::read(path.as_ref(), Keep::All)
    }

    /// [`File::open`] without the long lists of the metadata, which are a vocabulary's: a tenth of
    /// the time, for plans.
    ///
    /// # Errors
    /// As [`File::open`].
    pub fn outline(path: impl AsRef<Utf8Path>) -> Result<Self, Error> {
        Self::read(path.as_ref(), Keep::Outline)
    }

    fn read(path: &Utf8Path, keep: Keep) -> Result<Self, Error> {
        let (part, contents) = Part::open(path, keep)?;
        match part.numbered(&contents.metadata)? {
            None => Ok(Self::of(path, vec![(part, contents)])),
            Some(numbered) => {
                let set = open_set(part, contents, numbered, keep)?;
                Ok(Self::of(path, set))
            }
        }
    }

    /// The model in these parts, at least one; the first has the metadata.
    fn of(path: &Utf8Path, set: Vec<(Part, Contents)>) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            parts: Vec::with_capacity(set.len()),
            metadata: Metadata::default(),
            tensors: Vec::new(),
            places: Vec::new(),
            by_name: HashMap::new(),
        };
        for (number, (part, contents)) in set.into_iter().enumerate() {
            let place = |range| Place { part: number, range };
            file.places.extend(contents.ranges.into_iter().map(place));
            file.tensors.extend(contents.tensors);
            if number == 0 {
                file.metadata = contents.metadata;
            }
            file.parts.push(part);
        }
        let by_name = |(i, t): (usize, &TensorInfo)| (t.name.bytes().to_vec(), i);
        file.by_name = file.tensors.iter().enumerate().map(by_name).collect();
        file
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The paths and lengths in bytes of the files that it is in, in order.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (&Utf8Path, u64)> {
        self.parts.iter().map(|part| (part.path.as_path(), part.map.len() as u64))
    }

    /// Number of the part that tensor number `tensor` is in.
    pub fn part(&self, tensor: usize) -> usize {
        self.places[tensor].part
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.parts[0].version
    }

    /// Bytes that tensor data is aligned to; a power of two.
    pub fn alignment(&self) -> u64 {
        self.parts[0].alignment
    }

    /// Length of all its files in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.parts().map(|(_, bytes)| bytes).sum()
    }

    /// Where the data section starts in the first file.
    pub fn data_start(&self) -> u64 {
        self.parts[0].data_start
    }

    /// Where tensor number `tensor` has its data in its file, in bytes.
    pub fn range(&self, tensor: usize) -> Range<usize> {
        self.places[tensor].range.clone()
    }

    fn map(&self, tensor: usize) -> &Map {
        &self.parts[self.places[tensor].part].map
    }

    /// Where rows of tensor number `tensor` are in its file; at most the whole tensor.
    fn row_range(&self, tensor: usize, rows: Range<usize>) -> Range<usize> {
        let (data, row_bytes) = (self.range(tensor), self.tensors[tensor].row_bytes());
        let at =
            |row: usize| data.end.min(data.start.saturating_add(row.saturating_mul(row_bytes)));
        at(rows.start)..at(rows.end)
    }

    /// The bytes of tensor number `tensor`, in place, aligned to [`File::alignment`].
    pub fn data(&self, tensor: usize) -> &[u8] {
        &self.map(tensor)[self.range(tensor)]
    }
}

/// Opens the other parts of the set that `given` is one of, and checks that they are one.
fn open_set(
    given: Part,
    contents: Contents,
    numbered: Numbered,
    keep: Keep,
) -> Result<Vec<(Part, Contents)>, Error> {
    let Numbered { number, count, .. } = numbered;
    let what = format!("it is part {} of {count}", number + 1);
    let whole = match whole_path(&given.path) {
        Some((whole, n, of)) if (n, of) == (number, count) => whole,
        _ => {
            let name = part_path("NAME.gguf".into(), number, count);
            return Err(given.wrong(format!(
                "{what} by its metadata, so that it has to be called {name} for the others to be found; \
                 give it back its name"
            )));
        }
    };
    let paths = (0..count).map(|n| part_path(&whole, n, count));
    let mut missing = paths.clone().filter(|path| !path.exists());
    if let Some(first) = missing.next() {
        let name = first.file_name().unwrap_or_default();
        let more = match missing.count() {
            0 => String::new(),
            n => format!(" and {n} others"),
        };
        return Err(given.wrong(format!(
            "{what}, and {name}{more} is not there; put all parts into one directory"
        )));
    }

    let (mut given, mut set) = (Some((given, contents)), Vec::with_capacity(count));
    for (n, path) in paths.enumerate() {
        let next = match given.take_if(|_| n == number) {
            Some(given) => given,
            None => Part::open(&path, keep)?,
        };
        let found = next.0.numbered(&next.1.metadata)?;
        let expected = Numbered { number: n, ..numbered };
        if found != Some(expected) {
            let found = found.map_or("no part of any set".to_owned(), |found| found.to_string());
            return Err(next.0.wrong(format!(
                "by its metadata it is {found}; expected {expected}, as {} has it: it is of another set",
                part_path(&whole, number, count).file_name().unwrap_or_default()
            )));
        }
        set.push(next);
    }
    check_set(&set, numbered)?;
    Ok(set)
}

/// Whether parts that are numbered as they should be can be of one model.
fn check_set(set: &[(Part, Contents)], numbered: Numbered) -> Result<(), Error> {
    let mut names = HashMap::new();
    for (n, (part, contents)) in set.iter().enumerate() {
        for info in &contents.tensors {
            if let Some(other) = names.insert(info.name.bytes(), n) {
                return Err(part.wrong(format!(
                    "tensor {} is in part {} too; these are not parts of one model",
                    info.name,
                    other + 1
                )));
            }
        }
        // Some programs repeat metadata in every part.
        let differs = contents.metadata.entries().find(|(key, value)| {
            let first = set[0].1.metadata.value(key);
            **key != *SPLIT_NO && first.is_some_and(|first| first != *value)
        });
        if let Some((key, value)) = differs {
            let first = set[0].1.metadata.value(key).map(ToString::to_string).unwrap_or_default();
            return Err(part.wrong(format!(
                "its {key} is {value}, and that of part 1 is {first}; these are not parts of one model"
            )));
        }
    }
    let found = names.len() as u64;
    match numbered.tensors {
        Some(expected) if expected != found => Err(set[0].0.wrong(format!(
            "its {} parts have {found} tensors together; expected {expected} by {SPLIT_TENSORS}: a part is \
             of another set",
            set.len()
        ))),
        _ => Ok(()),
    }
}

impl TensorSource for File {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read_rows(
        &self,
        tensor: usize,
        rows: Range<usize>,
        out: &mut [u8],
    ) -> Result<(), SourceError> {
        let info = &self.tensors[tensor];
        let wrong = |reason: String| SourceError { tensor: info.name.to_string(), reason };
        info.check_rows(&rows, out).map_err(wrong)?;
        let start = self.row_range(tensor, rows).start;
        self.map(tensor)
            .read(start, out)
            .map_err(|e| wrong(format!("its bytes in {}: {e}", self.parts[self.part(tensor)].path)))
    }

    fn bytes(&self, tensor: usize) -> Option<&[u8]> {
        Some(self.data(tensor))
    }

    fn will_compute(&self) {
        self.parts.iter().for_each(|part| part.map.prefer_huge_pages());
    }

    fn release(&self, tensor: usize, rows: Range<usize>) {
        self.map(tensor).release(self.row_range(tensor, rows));
    }

    fn forget(&self, tensor: usize, rows: Range<usize>) {
        self.map(tensor).forget(self.row_range(tensor, rows));
    }

    fn find_bytes(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
