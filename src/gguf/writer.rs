//! The layout of a GGUF file to be written: header bytes, and where each tensor's data goes.
//! Computing it touches no file, so the exact size of an output is known before anything is made.

use super::header::{ALIGNMENT, found};
use super::{Array, MAX_NAME, Metadata, TensorInfo, Value};

/// Version of the format that is written.
const VERSION: u32 = 3;

/// A GGUF file to be: its header, and where its tensors go, in the order given and each padded to
/// the alignment, the last one too, as gguf-py and llama-quantize lay them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    header: Vec<u8>,
    offsets: Vec<u64>,
    alignment: u64,
    file_bytes: u64,
}

/// A header that no GGUF file can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// ggml keeps names in 64 bytes.
    #[error("tensor name {0:?} has {len} bytes; a GGUF file takes at most {MAX_NAME}", len = .0.len())]
    NameTooLong(String),
    /// `general.alignment` of the metadata is of no use.
    #[error("general.alignment is {0}; expected {ALIGNMENT}")]
    Alignment(String),
    /// The tensors together are too large.
    #[error("the tensors up to {0} take more than 2^63 bytes")]
    TooLarge(String),
}

impl Layout {
    /// The layout of a file with this metadata and these tensors. Of an outline of metadata it knows
    /// the lengths, and has no header to write.
    ///
    /// # Errors
    /// If a name is too long, the alignment is invalid or the file would be too large.
    pub fn new(metadata: &Metadata, tensors: &[TensorInfo]) -> Result<Self, LayoutError> {
        let Some(alignment) = metadata.alignment() else {
            return Err(LayoutError::Alignment(found(metadata)));
        };

        let mut header = Vec::new();
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(metadata.iter().len() as u64).to_le_bytes());
        for (key, value) in metadata.entries() {
            put_string(&mut header, key.bytes());
            put_value(&mut header, value);
        }
        let left_out = metadata.left_out_bytes();

        // Offsets in the header count from the start of the data section.
        let mut relative = Vec::with_capacity(tensors.len());
        let mut end = 0u64;
        for tensor in tensors {
            if tensor.name.bytes().len() > MAX_NAME {
                return Err(LayoutError::NameTooLong(tensor.name.to_string()));
            }
            put_string(&mut header, tensor.name.bytes());
            header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
            for dim in &tensor.shape {
                header.extend_from_slice(&dim.to_le_bytes());
            }
            header.extend_from_slice(&tensor.ggml_type.id().to_le_bytes());
            header.extend_from_slice(&end.to_le_bytes());
            relative.push(end);
            end = end
                .checked_add(tensor.bytes())
                .and_then(|e| e.checked_next_multiple_of(alignment))
                .filter(|&e| e <= i64::MAX as u64 / 2)
                .ok_or_else(|| LayoutError::TooLarge(tensor.name.to_string()))?;
        }
        let data_start = (header.len() as u64 + left_out).next_multiple_of(alignment);
        if left_out == 0 {
            header.resize(data_start as usize, 0);
        } else {
            header.clear();
        }
        Ok(Self {
            header,
            offsets: relative.into_iter().map(|o| data_start + o).collect(),
            alignment,
            file_bytes: data_start + end,
        })
    }

    /// The header with the padding up to the first tensor; empty of an outline.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Where tensor number `tensor` starts in the file, in bytes.
    pub fn offset(&self, tensor: usize) -> u64 {
        self.offsets[tensor]
    }

    /// Zero bytes that follow tensor data of `bytes` bytes.
    pub fn padding(&self, bytes: u64) -> usize {
        (bytes.next_multiple_of(self.alignment) - bytes) as usize
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }
}

fn put_string(out: &mut Vec<u8>, s: &[u8]) {
    out.extend_from_slice(&(s.len() as u64).to_le_bytes());
    out.extend_from_slice(s);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    fn put<const N: usize>(out: &mut Vec<u8>, id: u32, bytes: [u8; N]) {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
    match value {
        Value::U8(v) => put(out, 0, v.to_le_bytes()),
        Value::I8(v) => put(out, 1, v.to_le_bytes()),
        Value::U16(v) => put(out, 2, v.to_le_bytes()),
        Value::I16(v) => put(out, 3, v.to_le_bytes()),
        Value::U32(v) => put(out, 4, v.to_le_bytes()),
        Value::I32(v) => put(out, 5, v.to_le_bytes()),
        Value::F32(v) => put(out, 6, v.to_le_bytes()),
        Value::Bool(v) => put(out, 7, [u8::from(*v)]),
        Value::RawBool(v) => put(out, 7, [*v]),
        Value::String(v) => {
            out.extend_from_slice(&8u32.to_le_bytes());
            put_string(out, v.as_bytes());
        }
        Value::RawString(v) => {
            out.extend_from_slice(&8u32.to_le_bytes());
            put_string(out, v);
        }
        Value::Array(v) => {
            out.extend_from_slice(&9u32.to_le_bytes());
            put_array(out, v);
        }
        Value::U64(v) => put(out, 10, v.to_le_bytes()),
        Value::I64(v) => put(out, 11, v.to_le_bytes()),
        Value::F64(v) => put(out, 12, v.to_le_bytes()),
    }
}

fn put_strings<'a>(out: &mut Vec<u8>, strings: impl ExactSizeIterator<Item = &'a [u8]>) {
    out.extend_from_slice(&8u32.to_le_bytes());
    out.extend_from_slice(&(strings.len() as u64).to_le_bytes());
    for s in strings {
        put_string(out, s);
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    fn put<T: Copy, const N: usize>(out: &mut Vec<u8>, id: u32, v: &[T], encode: fn(T) -> [u8; N]) {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&(v.len() as u64).to_le_bytes());
        for &element in v {
            out.extend_from_slice(&encode(element));
        }
    }
    match array {
        Array::U8(v) => put(out, 0, v, u8::to_le_bytes),
        Array::I8(v) => put(out, 1, v, i8::to_le_bytes),
        Array::U16(v) => put(out, 2, v, u16::to_le_bytes),
        Array::I16(v) => put(out, 3, v, i16::to_le_bytes),
        Array::U32(v) => put(out, 4, v, u32::to_le_bytes),
        Array::I32(v) => put(out, 5, v, i32::to_le_bytes),
        Array::F32(v) => put(out, 6, v, f32::to_le_bytes),
        Array::Bool(v) => put(out, 7, v, |b| [u8::from(b)]),
        Array::RawBool(v) => put(out, 7, v, |b| [b]),
        Array::String(v) => put_strings(out, v.iter().map(String::as_bytes)),
        Array::RawString(v) => put_strings(out, v.iter().map(Vec::as_slice)),
        Array::U64(v) => put(out, 10, v, u64::to_le_bytes),
        Array::I64(v) => put(out, 11, v, i64::to_le_bytes),
        Array::F64(v) => put(out, 12, v, f64::to_le_bytes),
    }
}
