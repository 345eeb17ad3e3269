//! What a tensor is called, its type and its shape, and what follows from them for its bytes.

use std::ops::Range;

use super::Name;
use crate::ggml::{GgmlType, StoredType};

/// Name, type and shape of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name as GGUF has it, for example `blk.0.attn_q.weight`.
    pub name: Name,
    /// Type of the bytes that [`TensorSource::read_rows`](super::TensorSource::read_rows) gives.
    pub ggml_type: StoredType,
    /// Dimensions, fastest first: `[columns, rows, experts]`; one to four of them. Where one is
    /// zero the tensor has no weights and no bytes.
    pub shape: Vec<u64>,
    /// Bytes of the data where the type does not tell.
    pub(super) extent: u64,
}

/// A tensor of a type that can be listed and copied only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "tensor {tensor} is of {found}, with which nothing is computed here: such a tensor can be listed and \
     copied as it is; take a file that has it in another type"
)]
pub struct NotComputable {
    /// The tensor's name.
    pub tensor: String,
    /// Its type.
    pub found: StoredType,
}

impl TensorInfo {
    /// A tensor of a type whose layout is known; its columns are a multiple of the block size.
    pub fn new(
        name: impl Into<Name>,
        ggml_type: impl Into<StoredType>,
        shape: impl Into<Vec<u64>>,
    ) -> Self {
        let (name, ggml_type, shape) = (name.into(), ggml_type.into(), shape.into());
        Self { name, ggml_type, shape, extent: 0 }
    }

    /// It in another type, or in the same.
    pub fn in_type(&self, ggml_type: impl Into<StoredType>) -> Self {
        Self { ggml_type: ggml_type.into(), ..self.clone() }
    }

    /// The type to compute with.
    ///
    /// # Errors
    /// If it can be listed and copied only.
    pub fn computable(&self) -> Result<GgmlType, NotComputable> {
        let error = || NotComputable { tensor: self.name.to_string(), found: self.ggml_type };
        self.ggml_type.computable().ok_or_else(error)
    }

    /// Whether it has no weights.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Weights in a row: the fastest dimension. Of a type of which nothing is known each byte counts as
    /// a column of the only row, so that it can be copied in pieces like any other.
    pub fn columns(&self) -> usize {
        match self.ggml_type {
            StoredType::Unknown(_) => self.extent as usize,
            _ => self.shape[0] as usize,
        }
    }

    /// Rows in all: the product of every dimension but the fastest; none in a tensor without weights.
    pub fn rows(&self) -> usize {
        match self.ggml_type {
            StoredType::Unknown(_) => usize::from(self.extent > 0),
            _ if self.is_empty() => 0,
            _ => self.shape[1..].iter().product::<u64>() as usize,
        }
    }

    /// Weights in all.
    pub fn elements(&self) -> u64 {
        if self.is_empty() { 0 } else { self.shape.iter().product() }
    }

    /// Bytes of one row. A `TensorInfo` whose block size does not divide its columns is never made.
    pub fn row_bytes(&self) -> usize {
        self.columns() / self.ggml_type.block_size() * self.ggml_type.block_bytes()
    }

    /// Whether there are such rows, and whether they are as long as `out`.
    ///
    /// # Errors
    /// In words, if not.
    pub fn check_rows(&self, rows: &Range<usize>, out: &[u8]) -> Result<(), String> {
        let row_bytes = self.row_bytes();
        let expected = rows.len().checked_mul(row_bytes);
        if rows.start > rows.end || rows.end > self.rows() || expected != Some(out.len()) {
            return Err(format!(
                "rows {rows:?} into {} bytes were asked for, it has {} rows of {row_bytes} bytes",
                out.len(),
                self.rows()
            ));
        }
        Ok(())
    }

    /// Bytes of the tensor's data, without padding; of a type of which nothing is known, all that its
    /// file has up to the next tensor.
    pub fn bytes(&self) -> u64 {
        self.row_bytes() as u64 * self.rows() as u64
    }
}

/// Bits that a weight of these tensors takes, block overhead included; zero without weights.
pub fn bits_per_weight<'a>(tensors: impl IntoIterator<Item = &'a TensorInfo>) -> f64 {
    let add =
        |(bytes, weights), info: &TensorInfo| (bytes + info.bytes(), weights + info.elements());
    let (bytes, weights) = tensors.into_iter().fold((0u64, 0u64), add);
    if weights == 0 { 0.0 } else { bytes as f64 * 8.0 / weights as f64 }
}
