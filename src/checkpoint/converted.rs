//! A checkpoint seen through its architecture's tensor map: the GGUF file that a conversion would
//! write, without writing it. Convert stores this; quantize reads it; so both give the same bytes.

use std::ops::Range;

use super::check::check;
use super::convert_rows::{Float, RowMap, repack_mxfp4, transpose};
use super::error::Error;
use super::index::{Checkpoint, Found};
use super::metadata::metadata;
use super::narrow::Narrow;
use crate::arch::{Mapped, Source, Stored};
use crate::files::Map;
use crate::ggml::GgmlType;
use crate::gguf::{Metadata, SourceError, TensorInfo, TensorSource};

/// A checkpoint as a GGUF file.
pub struct Converted {
    checkpoint: Checkpoint,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    mapped: Vec<Mapped>,
    warnings: Vec<String>,
}

impl Converted {
    /// The GGUF file of `checkpoint` with these keys of its vocabulary. `dtype` (f32, f16 or bf16) is the type
    /// of the tensors that are neither MXFP4 nor always f32.
    ///
    /// # Errors
    /// If a tensor is missing, of the wrong shape or type for the configuration, or unknown; if
    /// another file beside the weights cannot be read.
    pub fn new(
        checkpoint: Checkpoint,
        vocabulary: Metadata,
        dtype: GgmlType,
    ) -> Result<Self, Error> {
        let config = checkpoint.described();
        let has = |name: &str| checkpoint.find(name).is_some();
        let mut mapped = config.architecture.map(&config.hyper, config.layout, &has);
        check(&checkpoint, &mapped)?;
        // Others it does not read.
        if config.layout == 0 {
            // The converter goes file by file, and by name within a file.
            mapped.sort_by_key(|m| (!m.is_mxfp4(), checkpoint.find(&m.order).map(|f| f.file)));
        }

        let tensors: Vec<TensorInfo> = mapped
            .iter()
            .map(|m| {
                let ggml_type = if m.is_mxfp4() {
                    GgmlType::MXFP4
                } else if m.float32 {
                    GgmlType::F32
                } else {
                    dtype
                };
                TensorInfo::new(m.name.as_str(), ggml_type, m.shape.clone())
            })
            .collect();
        let directory = checkpoint.directory();
        let mut warnings = Vec::new();
        let metadata = metadata(directory, config, &tensors, dtype, vocabulary, &mut warnings)?;
        Ok(Self { checkpoint, metadata, tensors, mapped, warnings })
    }

    /// The checkpoint it is made of.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn found(&self, stored: &Stored) -> Result<Found<'_>, String> {
        // `new` has seen it; the map does not change.
        self.checkpoint.find(&stored.name).ok_or_else(|| format!("{} is gone", stored.name))
    }

    /// The stored tensor with the type of its floats.
    fn floats(&self, stored: &Stored) -> Result<(Found<'_>, Float), String> {
        let found = self.found(stored)?;
        let float = Float::of(found.entry.dtype)
            .ok_or_else(|| format!("{} is {:?}, not a float", stored.name, found.entry.dtype))?;
        Ok((found, float))
    }

    /// Which lines of the stored tensors rows, at least one, are made of.
    fn lines(&self, tensor: usize, rows: &Range<usize>) -> Range<usize> {
        let info = &self.tensors[tensor];
        match &self.mapped[tensor].source {
            Source::Mxfp4 { first, step, .. } => layout_of(info, *first, *step).lines(rows),
            Source::Rows { tensor, first, step } => {
                stored_layout(info, tensor, *first, *step).lines(rows)
            }
            Source::Columns { .. } => rows.clone(),
            // Every line of a matrix has a value of each row.
            Source::Transposed { first, step, .. } => {
                let (layout, lines) = (layout_of(info, *first, *step), info.columns());
                rows.start / layout.rows * lines..(rows.end - 1) / layout.rows * lines + lines
            }
        }
    }

    /// Where lines of `stored` are: in which file, and which of its bytes.
    fn place(&self, stored: &Stored, mxfp4: bool, lines: &Range<usize>) -> Option<Place<'_>> {
        let line = self.checkpoint.find(&stored.name)?.bytes.len() / stored_lines(stored, mxfp4);
        self.checkpoint.place(&stored.name, lines.start * line..lines.end * line)
    }

    /// Where all that rows are made of is.
    fn places(&self, tensor: usize, rows: Range<usize>) -> impl Iterator<Item = Place<'_>> {
        let mapped = &self.mapped[tensor];
        let lines = if rows.is_empty() { 0..0 } else { self.lines(tensor, &rows) };
        mapped.stored().filter_map(move |s| self.place(s, mapped.is_mxfp4(), &lines))
    }

    fn read(&self, tensor: usize, rows: Range<usize>, out: &mut [u8]) -> Result<(), String> {
        let info = &self.tensors[tensor];
        info.check_rows(&rows, out)?;
        if rows.is_empty() {
            return Ok(());
        }
        let columns = info.columns();
        let narrow = Narrow { info };
        let lines = self.lines(tensor, &rows);
        match &self.mapped[tensor].source {
            Source::Mxfp4 { blocks, scales, first, step } => {
                let layout = layout_of(info, *first, *step);
                let blocks = read(blocks, self.place(blocks, true, &lines))?;
                let scales = read(scales, self.place(scales, true, &lines))?;
                repack_mxfp4(&blocks, &scales, columns / 32, layout, rows, out);
                Ok(())
            }
            Source::Rows { tensor, first, step } => {
                let (_, float) = self.floats(tensor)?;
                let layout = stored_layout(info, tensor, *first, *step);
                let place = self.place(tensor, false, &lines);
                if let Some((map, range)) = &place
                    && float.ggml_type() == info.ggml_type
                    && range.len() == out.len()
                {
                    return map.read(range.start, out).map_err(|e| unreadable(tensor, &e));
                }
                let bytes = read(tensor, place)?;
                let stored_bytes = columns * float.bytes();
                for (row, out) in rows.zip(out.chunks_exact_mut(info.row_bytes())) {
                    let start = (layout.stored(row) - lines.start) * stored_bytes;
                    narrow.row(float, &bytes[start..start + stored_bytes], row, out)?;
                }
                Ok(())
            }
            Source::Columns { tensor, first, step } => {
                let (found, float) = self.floats(tensor)?;
                let size = float.bytes();
                // A bias may be a part of a longer one: rows are those of the stored tensor.
                let stored_bytes = tensor.shape.last().map_or(0, |&c| c as usize) * size;
                let mut values = vec![0.0; columns];
                for (row, out) in rows.zip(out.chunks_exact_mut(info.row_bytes())) {
                    let line = &found.bytes[row * stored_bytes..(row + 1) * stored_bytes];
                    for (c, value) in values.iter_mut().enumerate() {
                        let at = (first + c * step) * size;
                        float.widen(&line[at..at + size], std::slice::from_mut(value));
                    }
                    narrow.values(&values, row * columns, out)?;
                }
                Ok(())
            }
            Source::Transposed { tensor, first, step } => {
                let (found, float) = self.floats(tensor)?;
                let layout = layout_of(info, *first, *step);
                let mut values = vec![0.0; rows.len() * columns];
                transpose(float, found.bytes, columns, layout, rows.clone(), &mut values);
                narrow.values(&values, rows.start * columns, out)
            }
        }
    }
}

impl TensorSource for Converted {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn read_rows(
        &self,
        tensor: usize,
        rows: Range<usize>,
        out: &mut [u8],
    ) -> Result<(), SourceError> {
        self.read(tensor, rows, out)
            .map_err(|reason| SourceError { tensor: self.tensors[tensor].name.to_string(), reason })
    }

    fn bytes(&self, tensor: usize) -> Option<&[u8]> {
        let Source::Rows { tensor: stored, first, step: 1 } = &self.mapped[tensor].source else {
            return None;
        };
        let info = &self.tensors[tensor];
        let (found, float) = self.floats(stored).ok()?;
        if float.ggml_type() != info.ggml_type {
            return None;
        }
        let start = first * info.row_bytes();
        found.bytes.get(start..start + info.bytes() as usize)
    }

    fn release(&self, tensor: usize, rows: Range<usize>) {
        for (map, range) in self.places(tensor, rows) {
            map.release(range);
        }
    }

    fn forget(&self, tensor: usize, rows: Range<usize>) {
        let again = match &self.mapped[tensor].source {
            Source::Mxfp4 { first, step, .. }
            | Source::Rows { first, step, .. }
            | Source::Transposed { first, step, .. } => first + 1 < *step,
            Source::Columns { .. } => false,
        };
        for (map, range) in self.places(tensor, rows) {
            // Another tensor is made of the lines between.
            if again { map.release(range) } else { map.forget(range) }
        }
    }
}

/// A file and which of its bytes.
type Place<'a> = (&'a Map, Range<usize>);

/// The bytes of `stored` at `place`.
fn read(stored: &Stored, place: Option<Place<'_>>) -> Result<Vec<u8>, String> {
    let (map, range) = place.ok_or_else(|| format!("{} is gone", stored.name))?;
    map.read_range(range).map_err(|e| unreadable(stored, &e))
}

fn unreadable(stored: &Stored, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", stored.name)
}

/// Lines of a stored tensor: what its fastest dimension runs along, or its blocks of codes do.
fn stored_lines(stored: &Stored, mxfp4: bool) -> usize {
    let lines = match stored.shape.as_slice() {
        [experts, rows, ..] if mxfp4 => experts * rows,
        [] | [_] => 1,
        [lines @ .., _] => lines.iter().product(),
    };
    lines.max(1) as usize
}

/// Rows of matrices that are stored `step` times as long.
fn layout_of(info: &TensorInfo, first: usize, step: usize) -> RowMap {
    let rows = info.shape.get(1).map_or(1, |&r| r as usize);
    RowMap { rows, stored_rows: rows * step, first, step }
}

/// Rows of matrices of which the stored ones may be longer for another reason, as where query, key
/// and value are one tensor.
fn stored_layout(info: &TensorInfo, stored: &Stored, first: usize, step: usize) -> RowMap {
    let dims = stored.shape.len();
    let stored_rows = if dims >= 2 { stored.shape[dims - 2] as usize } else { 1 };
    RowMap { stored_rows, ..layout_of(info, first, step) }
}
