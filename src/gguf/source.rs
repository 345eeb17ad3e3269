//! [`TensorSource`]: named tensors whose rows can be had on demand, whatever they are stored in.

use std::ops::Range;

use super::Metadata;
use crate::ggml::GgmlType;

/// Name, type and shape of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name as GGUF has it, for example `blk.0.attn_q.weight`.
    pub name: String,
    /// Type of the bytes that [`TensorSource::read_rows`] gives.
    pub ggml_type: GgmlType,
    /// Dimensions, fastest first: `[columns, rows, experts]`; one to four of them, none zero.
    pub shape: Vec<u64>,
}

impl TensorInfo {
    /// Weights in a row: the fastest dimension.
    pub fn columns(&self) -> usize {
        self.shape[0] as usize
    }

    /// Rows in all: the product of every dimension but the fastest.
    pub fn rows(&self) -> usize {
        self.shape[1..].iter().product::<u64>() as usize
    }

    /// Weights in all.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Bytes of one row. A `TensorInfo` whose block size does not divide its columns is never made.
    pub fn row_bytes(&self) -> usize {
        self.columns() / self.ggml_type.block_size() * self.ggml_type.block_bytes()
    }

    /// Bytes of the tensor's data, without padding.
    pub fn bytes(&self) -> u64 {
        self.row_bytes() as u64 * self.rows() as u64
    }
}

/// Why rows of a tensor could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot read tensor {tensor}: {reason}")]
pub struct SourceError {
    /// The tensor's name.
    pub tensor: String,
    /// What was expected and what was found.
    pub reason: String,
}

/// A model as metadata and tensors in file order: an open GGUF file, or a checkpoint seen through
/// an architecture's tensor map. Convert writes one; quantize writes one with other types.
pub trait TensorSource: Send + Sync {
    /// The metadata a GGUF file of this model carries.
    fn metadata(&self) -> &Metadata;

    /// Every tensor, in file order.
    fn tensors(&self) -> &[TensorInfo];

    /// What of the source does not come through, each with its reason.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Writes rows `rows` of tensor number `tensor` into `out`, which holds exactly
    /// `rows.len() * row_bytes()` bytes.
    ///
    /// # Errors
    /// If the stored bytes cannot be read or cannot be what the tensor's type says.
    fn read_rows(
        &self,
        tensor: usize,
        rows: Range<usize>,
        out: &mut [u8],
    ) -> Result<(), SourceError>;

    /// The whole tensor's bytes in place, where they are stored as [`TensorInfo::ggml_type`] says.
    fn bytes(&self, tensor: usize) -> Option<&[u8]>;

    /// Hint that tensors will be read in place, over and over.
    fn will_compute(&self) {}

    /// Hint that rows of the tensor will not be read again soon: a mapped file's pages are let go.
    fn release(&self, _tensor: usize, _rows: Range<usize>) {}

    /// Hint that nobody will read these rows of the tensor soon: the page cache need not hold them.
    fn forget(&self, _tensor: usize, _rows: Range<usize>) {}

    /// The number of the tensor with this name.
    fn find(&self, name: &str) -> Option<usize> {
        self.tensors().iter().position(|t| t.name == name)
    }

    /// Bits of tensor data per weight, block overhead included; zero without tensors.
    fn bits_per_weight(&self) -> f64 {
        let bytes: u64 = self.tensors().iter().map(TensorInfo::bytes).sum();
        let weights: u64 = self.tensors().iter().map(TensorInfo::elements).sum();
        if weights == 0 { 0.0 } else { bytes as f64 * 8.0 / weights as f64 }
    }
}
