//! An open GGUF file: its mapped bytes and what its header says. Knows nothing of what tensors mean.

use std::collections::HashMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::Map;
use super::header::Header;
use super::{Error, Metadata, SourceError, TensorInfo, TensorSource};

/// An open GGUF file, memory-mapped.
#[derive(Debug)]
pub struct File {
    path: Utf8PathBuf,
    map: Map,
    version: u32,
    alignment: u64,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Where each tensor's data is in the file.
    ranges: Vec<Range<usize>>,
    by_name: HashMap<String, usize>,
    data_start: u64,
}

impl File {
    /// Opens the file at `path` and checks its whole header: magic, version, counts, strings,
    /// duplicate keys and names, shapes, types, block sizes, and that every tensor's data is
    /// aligned, inside the file and disjoint from the others'.
    ///
    /// # Errors
    /// Whatever of that does not hold, with the offset, what was expected and what was found.
    pub fn open(path: impl AsRef<Utf8Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let map = Map::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let header = Header::read(path, &map)?;
        let Header { version, alignment, metadata, tensors, ranges, data_start } = header;
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            version,
            alignment,
            metadata,
            tensors,
            ranges,
            by_name,
            data_start,
        })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes that tensor data is aligned to; a power of two, at least 8.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Where the data section starts in the file.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Where tensor number `tensor` has its data in the file, in bytes.
    pub fn range(&self, tensor: usize) -> Range<usize> {
        self.ranges[tensor].clone()
    }

    /// Where rows of tensor number `tensor` are in the file; at most the whole tensor.
    fn row_range(&self, tensor: usize, rows: Range<usize>) -> Range<usize> {
        let (data, row_bytes) = (self.range(tensor), self.tensors[tensor].row_bytes());
        let at =
            |row: usize| data.end.min(data.start.saturating_add(row.saturating_mul(row_bytes)));
        at(rows.start)..at(rows.end)
    }

    /// The bytes of tensor number `tensor`, in place, aligned to [`File::alignment`].
    pub fn data(&self, tensor: usize) -> &[u8] {
        &self.map[self.ranges[tensor].clone()]
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
        let row_bytes = info.row_bytes();
        if rows.start > rows.end || rows.end > info.rows() || out.len() != rows.len() * row_bytes {
            return Err(SourceError {
                tensor: info.name.clone(),
                reason: format!(
                    "rows {rows:?} into {} bytes were asked for, it has {} rows of {row_bytes} bytes",
                    out.len(),
                    info.rows()
                ),
            });
        }
        self.map.read(self.row_range(tensor, rows).start, out).map_err(|e| {
            let reason = format!("its bytes in {}: {e}", self.path);
            SourceError { tensor: info.name.clone(), reason }
        })
    }

    fn bytes(&self, tensor: usize) -> Option<&[u8]> {
        Some(self.data(tensor))
    }

    fn will_compute(&self) {
        self.map.prefer_huge_pages();
    }

    fn release(&self, tensor: usize, rows: Range<usize>) {
        self.map.release(self.row_range(tensor, rows));
    }

    fn forget(&self, tensor: usize, rows: Range<usize>) {
        self.map.forget(self.row_range(tensor, rows));
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
