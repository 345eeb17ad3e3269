//! Rows of GGUF tensors from the bytes of safetensors tensors: the MXFP4 repack, the choice of
//! every second row, transposition, and floats of one width to another. Knows no files.

use std::ops::Range;

use half::{bf16, f16};
use safetensors::Dtype;

use crate::ggml::GgmlType;

/// Bytes of codes in a block of 32 weights.
const CODES: usize = 16;

/// Rows of a matrix, or of a stack of matrices, and where they lie in the stored one.
#[derive(Clone, Copy, Debug)]
pub struct RowMap {
    /// Rows of each matrix that is made.
    pub rows: usize,
    /// Rows of each stored matrix.
    pub stored_rows: usize,
    /// The stored row that becomes the first.
    pub first: usize,
    /// Distance between stored rows.
    pub step: usize,
}

impl RowMap {
    /// The stored row that becomes `row`, counting through all matrices.
    pub fn stored(&self, row: usize) -> usize {
        row / self.rows * self.stored_rows + self.first + row % self.rows * self.step
    }

    /// The stored rows from the first to the last that `rows`, of which there is one at least,
    /// are made of; those between that they are not made of are among them.
    pub fn lines(&self, rows: &Range<usize>) -> Range<usize> {
        self.stored(rows.start)..self.stored(rows.end - 1) + 1
    }
}

/// Makes rows of ggml's MXFP4 blocks (the scale, then 16 bytes in which byte `j` holds weight `j`
/// in its low half and weight `j + 16` in its high half) from rows of `blocks` (byte `j` holds
/// weight `2j` and `2j + 1`) and `scales`, which are those of the stored rows `layout.lines(&rows)`.
/// No bit is lost.
pub fn repack_mxfp4(
    blocks: &[u8],
    scales: &[u8],
    blocks_per_row: usize,
    layout: RowMap,
    rows: Range<usize>,
    out: &mut [u8],
) {
    let row_bytes = blocks_per_row * (CODES + 1);
    let start = layout.stored(rows.start);
    for (row, out) in rows.zip(out.chunks_exact_mut(row_bytes)) {
        let first = (layout.stored(row) - start) * blocks_per_row;
        let codes = blocks[first * CODES..].as_chunks::<CODES>().0.iter();
        let (out, _) = out.as_chunks_mut::<{ CODES + 1 }>();
        for ((out, codes), scale) in out.iter_mut().zip(codes).zip(&scales[first..]) {
            out[0] = *scale;
            for j in 0..CODES / 2 {
                // Weights 2j, 2j+1 and their counterparts 16 further on.
                let (low, high) = (codes[j], codes[j + CODES / 2]);
                out[1 + 2 * j] = (low & 0x0f) | (high << 4);
                out[2 + 2 * j] = (low >> 4) | (high & 0xf0);
            }
        }
    }
}

/// A stored float type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    /// The float type that `dtype` is, if it is one that checkpoints hold weights in.
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// The same type in a GGUF file.
    pub fn ggml_type(self) -> GgmlType {
        match self {
            Self::F32 => GgmlType::F32,
            Self::F16 => GgmlType::F16,
            Self::Bf16 => GgmlType::BF16,
        }
    }

    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        self.ggml_type().block_bytes()
    }

    /// Widens the values in `stored` to f32.
    pub fn widen(self, stored: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => {
                for (out, b) in out.iter_mut().zip(stored.as_chunks().0) {
                    *out = f32::from_le_bytes(*b);
                }
            }
            Self::F16 => {
                for (out, b) in out.iter_mut().zip(stored.as_chunks().0) {
                    *out = f16::from_le_bytes(*b).to_f32();
                }
            }
            Self::Bf16 => {
                for (out, b) in out.iter_mut().zip(stored.as_chunks().0) {
                    *out = bf16::from_le_bytes(*b).to_f32();
                }
            }
        }
    }

    /// Narrows `values` to this type, ties to even. Answers with the position of the first finite
    /// value that becomes infinite.
    pub fn narrow(self, values: &[f32], out: &mut [u8]) -> Option<usize> {
        let mut overflow = None;
        match self {
            Self::F32 => {
                for (out, v) in out.as_chunks_mut().0.iter_mut().zip(values) {
                    *out = v.to_le_bytes();
                }
            }
            Self::F16 => {
                for (i, (out, v)) in out.as_chunks_mut().0.iter_mut().zip(values).enumerate() {
                    let narrow = f16::from_f32(*v);
                    if narrow.is_infinite() && v.is_finite() {
                        overflow = overflow.or(Some(i));
                    }
                    *out = narrow.to_le_bytes();
                }
            }
            Self::Bf16 => {
                for (i, (out, v)) in out.as_chunks_mut().0.iter_mut().zip(values).enumerate() {
                    let narrow = bf16::from_f32(*v);
                    if narrow.is_infinite() && v.is_finite() {
                        overflow = overflow.or(Some(i));
                    }
                    *out = narrow.to_le_bytes();
                }
            }
        }
        overflow
    }
}

/// Widens column `first + row * step` of matrix `e` of `stored` (each `columns` rows of
/// `stored_rows` values) into row `(e, row)` of `out`, for `rows` counted through all matrices.
pub fn transpose(
    float: Float,
    stored: &[u8],
    columns: usize,
    layout: RowMap,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let size = float.bytes();
    let line_bytes = layout.stored_rows * size;
    let mut start = rows.start;
    let mut out = out;
    while start < rows.end {
        // As many rows as one matrix holds, so that each of its lines is walked once.
        let matrix = start / layout.rows;
        let end = rows.end.min((matrix + 1) * layout.rows);
        let (now, later) = out.split_at_mut((end - start) * columns);
        out = later;
        let lines = &stored[matrix * columns * line_bytes..(matrix + 1) * columns * line_bytes];
        for (column, line) in lines.chunks_exact(line_bytes).enumerate() {
            for (i, row) in (start..end).enumerate() {
                let at = (layout.first + row % layout.rows * layout.step) * size;
                float.widen(&line[at..at + size], &mut now[i * columns + column..][..1]);
            }
        }
        start = end;
    }
}
