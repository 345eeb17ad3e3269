//! What a model makes a machine do, from its header alone.

use std::ops::Range;

use super::Work;
use crate::ggml::{GgmlType, StoredType};
use crate::gguf::{Metadata, SourceError, TensorInfo, TensorSource};
use crate::model::{KvCacheType, decode_traffic};

/// What a model makes a machine do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Weights of all tensors.
    pub weights: u64,
    /// Bytes that a token reads which is generated.
    token_bytes: u64,
    /// Weights that a token is multiplied with, those of the output matrix excepted: quantized ones,
    /// and floats.
    token_weights: [u64; 2],
    /// Of the output matrix the same.
    output_weights: [u64; 2],
}

impl Load {
    /// Of the model with this header; `None` of an architecture of which nothing is known.
    pub fn of(metadata: &Metadata, tensors: &[TensorInfo]) -> Option<Self> {
        let of_token = |tensors: Vec<TensorInfo>| {
            let header = Header { metadata, tensors };
            Some(decode_traffic(&header, 0..1, KvCacheType::F16).ok()?.weights)
        };
        // As if all were f32, so that bytes count weights.
        let weights = |floats: bool, output: bool| {
            let wanted = tensors.iter().filter(|t| {
                is_float(t.ggml_type) == floats && (t.name.bytes() == OUTPUT) == output
            });
            let counted = of_token(wanted.map(|t| t.in_type(GgmlType::F32)).collect());
            counted.map(|bytes| bytes / size_of::<f32>() as u64)
        };
        Some(Self {
            bytes: tensors.iter().map(TensorInfo::bytes).sum(),
            weights: tensors.iter().map(TensorInfo::elements).sum(),
            token_bytes: of_token(tensors.to_vec())?,
            token_weights: [weights(false, false)?, weights(true, false)?],
            output_weights: [weights(false, true)?, weights(true, true)?],
        })
    }

    /// Adds reading a text of `tokens` tokens, `scored` of which get logits.
    pub fn add_prompt(&self, work: &mut Work, tokens: u64, scored: u64) {
        let all = |kind: usize| {
            let read = self.token_weights[kind].saturating_mul(tokens);
            read.saturating_add(self.output_weights[kind].saturating_mul(scored))
        };
        work.products = work.products.saturating_add(all(0));
        work.float_products = work.float_products.saturating_add(all(1));
    }

    /// Adds generating `tokens` tokens one after the other.
    pub fn add_generation(&self, work: &mut Work, tokens: u64) {
        work.read = work.read.saturating_add(self.token_bytes.saturating_mul(tokens));
    }
}

/// The matrix from which logits come.
const OUTPUT: &[u8] = b"output.weight";

fn is_float(ty: StoredType) -> bool {
    matches!(ty.computable(), Some(GgmlType::F32 | GgmlType::F16 | GgmlType::BF16))
}

/// A header without a file.
struct Header<'a> {
    metadata: &'a Metadata,
    tensors: Vec<TensorInfo>,
}

impl TensorSource for Header<'_> {
    fn metadata(&self) -> &Metadata {
        self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read_rows(&self, tensor: usize, _: Range<usize>, _: &mut [u8]) -> Result<(), SourceError> {
        let tensor = self.tensors[tensor].name.to_string();
        Err(SourceError { tensor, reason: "only its header is known".to_owned() })
    }

    fn bytes(&self, _: usize) -> Option<&[u8]> {
        None
    }
}
