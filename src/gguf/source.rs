//! [`TensorSource`]: named tensors whose rows can be had on demand, whatever they are stored in.

use std::ops::Range;

use super::{Metadata, TensorInfo, bits_per_weight};

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
        self.find_bytes(name.as_bytes())
    }

    /// The number of the tensor whose name a file stores as `name`, which need be no UTF-8.
    fn find_bytes(&self, name: &[u8]) -> Option<usize> {
        self.tensors().iter().position(|t| t.name.bytes() == name)
    }

    /// Bits of tensor data per weight, block overhead included; zero without tensors.
    fn bits_per_weight(&self) -> f64 {
        bits_per_weight(self.tensors())
    }
}
