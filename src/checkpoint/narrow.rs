//! Floats of a checkpoint in the type that a tensor is to have. Knows nothing of where they are stored.

use super::convert_rows::Float;
use crate::ggml::GgmlType;
use crate::gguf::TensorInfo;

/// Values that are widened at a time.
const CHUNK: usize = 4096;

/// Puts floats into a tensor's own type.
pub struct Narrow<'a> {
    /// The tensor that they are for.
    pub info: &'a TensorInfo,
}

impl Narrow<'_> {
    /// Row number `row`, stored as `from`, into `out`.
    ///
    /// # Errors
    /// Names the first value that the type cannot hold.
    pub fn row(
        &self,
        from: Float,
        stored: &[u8],
        row: usize,
        out: &mut [u8],
    ) -> Result<(), String> {
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

    /// Values of which the first is number `first` of the tensor, into `out`.
    ///
    /// # Errors
    /// As [`Narrow::row`].
    pub fn values(&self, values: &[f32], first: usize, out: &mut [u8]) -> Result<(), String> {
        let to = match self.info.ggml_type.computable() {
            Some(GgmlType::F16) => Float::F16,
            Some(GgmlType::BF16) => Float::Bf16,
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
