//! A checkpoint seen through its architecture's tensor map: the GGUF file that a conversion would
//! write, without writing it. Convert stores this; quantize reads it; so both give the same bytes.

use std::fs::File;
use std::ops::Range;

use super::check::check;
use super::convert_rows::{Float, Rows, repack_mxfp4, transpose};
use super::error::Error;
use super::index::{Checkpoint, Found};
use super::metadata::metadata;
use crate::ggml::GgmlType;
use crate::gguf::{Metadata, SourceError, TensorInfo, TensorSource};
use crate::model::gpt_oss::{
    ExpertWeights, Layout, Mapped, Source, Stored, mxfp4_probe, tensor_map,
};
use crate::tokenizer::Vocabulary;

/// Values that are widened at a time.
const CHUNK: usize = 4096;

/// A checkpoint as a GGUF file.
pub struct Converted {
    checkpoint: Checkpoint,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    mapped: Vec<Mapped>,
}

impl Converted {
    /// The GGUF file of `checkpoint` with this vocabulary. `dtype` (f32, f16 or bf16) is the type
    /// of the tensors that are neither MXFP4 nor always f32.
    ///
    /// # Errors
    /// If a tensor is missing, of the wrong shape or type for the configuration, or unknown; if
    /// another file beside the weights cannot be read.
    pub fn new(
        checkpoint: Checkpoint,
        vocabulary: Vocabulary,
        dtype: GgmlType,
    ) -> Result<Self, Error> {
        let layout = checkpoint.layout();
        let experts = match checkpoint.find(mxfp4_probe(layout)) {
            Some(_) => ExpertWeights::Mxfp4,
            None => ExpertWeights::Plain,
        };
        let mut mapped = tensor_map(checkpoint.config(), layout, experts);
        check(&checkpoint, &mapped)?;
        if layout == Layout::HuggingFace {
            // The converter goes file by file, and by name within a file.
            mapped.sort_by_key(|m| (!m.is_mxfp4(), checkpoint.find(&m.order).map(|f| f.file)));
        }

        let tensors: Vec<TensorInfo> = mapped
            .iter()
            .map(|m| TensorInfo {
                name: m.name.clone(),
                ggml_type: if m.is_mxfp4() {
                    GgmlType::MXFP4
                } else if m.float32 {
                    GgmlType::F32
                } else {
                    dtype
                },
                shape: m.shape.clone(),
            })
            .collect();
        let (directory, config) = (checkpoint.directory(), checkpoint.config());
        let metadata = metadata(directory, config, &tensors, dtype, vocabulary)?;
        Ok(Self { checkpoint, metadata, tensors, mapped })
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

    /// The stored tensors that rows are made of, and which of their bytes.
    fn parts(&self, tensor: usize, rows: Range<usize>) -> Vec<(&str, Range<usize>)> {
        let info = &self.tensors[tensor];
        if rows.is_empty() {
            return Vec::new();
        }
        let mapped = &self.mapped[tensor];
        let stored_rows = |layout: Rows| layout.stored(rows.start)..layout.stored(rows.end - 1) + 1;
        let lines = match &mapped.source {
            Source::Mxfp4 { first, step, .. } => stored_rows(layout_of(info, *first, *step)),
            Source::Rows { tensor, first, step } => {
                stored_rows(stored_layout(info, tensor, *first, *step))
            }
            Source::Columns { .. } => rows,
            // Every line of a matrix has a value of each row.
            Source::Transposed { first, step, .. } => {
                let (layout, lines) = (layout_of(info, *first, *step), info.columns());
                rows.start / layout.rows * lines..(rows.end - 1) / layout.rows * lines + lines
            }
        };
        let part = |stored: &'_ Stored| {
            let data = self.checkpoint.find(&stored.name)?.bytes.len();
            let line = data / stored_lines(stored, mapped.is_mxfp4());
            Some(lines.start * line..lines.end * line)
        };
        mapped.stored().filter_map(|s| Some((s.name.as_str(), part(s)?))).collect()
    }

    fn read(&self, tensor: usize, rows: Range<usize>, out: &mut [u8]) -> Result<(), String> {
        let info = &self.tensors[tensor];
        let expected = rows.len().checked_mul(info.row_bytes());
        if rows.start > rows.end || rows.end > info.rows() || expected != Some(out.len()) {
            return Err(format!(
                "rows {rows:?} into {} bytes were asked for, it has {} rows of {} bytes",
                out.len(),
                info.rows(),
                info.row_bytes()
            ));
        }
        let columns = info.columns();
        let narrow = Narrow { info };
        match &self.mapped[tensor].source {
            Source::Mxfp4 { blocks, scales, first, step } => {
                let (blocks, scales) = (self.found(blocks)?, self.found(scales)?);
                let layout = layout_of(info, *first, *step);
                repack_mxfp4(blocks.bytes, scales.bytes, columns / 32, layout, rows, out);
                Ok(())
            }
            Source::Rows { tensor, first, step } => {
                let (found, float) = self.floats(tensor)?;
                let layout = stored_layout(info, tensor, *first, *step);
                let stored_bytes = columns * float.bytes();
                for (row, out) in rows.zip(out.chunks_exact_mut(info.row_bytes())) {
                    let start = layout.stored(row) * stored_bytes;
                    let stored = &found.bytes[start..start + stored_bytes];
                    narrow.row(float, stored, row, out)?;
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

    fn read_rows(
        &self,
        tensor: usize,
        rows: Range<usize>,
        out: &mut [u8],
    ) -> Result<(), SourceError> {
        self.read(tensor, rows, out)
            .map_err(|reason| SourceError { tensor: self.tensors[tensor].name.clone(), reason })
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

    fn place(&self, tensor: usize) -> Option<(&File, u64)> {
        let bytes = self.bytes(tensor)?.len();
        let (name, part) = self.parts(tensor, 0..self.tensors[tensor].rows()).pop()?;
        let (map, range) = self.checkpoint.place(name, part)?;
        (range.len() == bytes).then(|| (map.file(), range.start as u64))
    }

    fn prefetch(&self, tensor: usize, rows: Range<usize>) {
        for (name, part) in self.parts(tensor, rows) {
            if let Some((map, range)) = self.checkpoint.place(name, part) {
                map.prefetch(range);
            }
        }
    }

    fn release(&self, tensor: usize, rows: Range<usize>) {
        for (name, part) in self.parts(tensor, rows) {
            if let Some((map, range)) = self.checkpoint.place(name, part) {
                map.release(range);
            }
        }
    }
}

/// Puts floats into a tensor's own type.
struct Narrow<'a> {
    info: &'a TensorInfo,
}

impl Narrow<'_> {
    /// A whole stored row.
    fn row(&self, from: Float, stored: &[u8], row: usize, out: &mut [u8]) -> Result<(), String> {
        if from.ggml_type() == self.info.ggml_type {
            out.copy_from_slice(stored);
            return Ok(());
        }
        let size = self.info.ggml_type.block_bytes();
        let mut values = [0.0; CHUNK];
        let columns = self.info.columns();
        for start in (0..columns).step_by(CHUNK) {
            let end = columns.min(start + CHUNK);
            let values = &mut values[..end - start];
            from.widen(&stored[start * from.bytes()..end * from.bytes()], values);
            self.values(values, row * columns + start, &mut out[start * size..end * size])?;
        }
        Ok(())
    }

    /// Values of which the first is number `first` of the tensor.
    fn values(&self, values: &[f32], first: usize, out: &mut [u8]) -> Result<(), String> {
        let to = match self.info.ggml_type {
            GgmlType::F16 => Float::F16,
            GgmlType::BF16 => Float::Bf16,
            _ => Float::F32,
        };
        match to.narrow(values, out) {
            None => Ok(()),
            Some(at) => {
                let columns = self.info.columns();
                let (row, column) = ((first + at) / columns, (first + at) % columns);
                Err(format!(
                    "row {row}, column {column} is {}, which {} cannot hold; convert to f32",
                    values[at], self.info.ggml_type
                ))
            }
        }
    }
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
fn layout_of(info: &TensorInfo, first: usize, step: usize) -> Rows {
    let rows = info.shape.get(1).map_or(1, |&r| r as usize);
    Rows { rows, stored_rows: rows * step, first, step }
}

/// Rows of matrices of which the stored ones may be longer for another reason, as where query, key
/// and value are one tensor.
fn stored_layout(info: &TensorInfo, stored: &Stored, first: usize, step: usize) -> Rows {
    let dims = stored.shape.len();
    let stored_rows = if dims >= 2 { stored.shape[dims - 2] as usize } else { 1 };
    Rows { stored_rows, ..layout_of(info, first, step) }
}
