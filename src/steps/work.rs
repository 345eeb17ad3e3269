//! What a step and a model make a machine do, from headers alone: what a guess of a step's time is made
//! of. Knows nothing of how fast a machine is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::PlannedModel;
use crate::ggml::{GgmlType, StoredType};
use crate::gguf::{Metadata, SourceError, TensorInfo, TensorSource};
use crate::model::{KvCacheType, decode_traffic};

/// A type to quantize to, and whether an importance matrix weighs the columns.
pub type Quantizer = (GgmlType, bool);

/// What a step makes a machine do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Bytes that one thread hashes while others do something else.
    pub hash: u64,
    /// Bytes written to the disk.
    pub write: u64,
    /// Bytes read from memory by all threads.
    pub read: u64,
    /// Weights dequantized.
    pub dequantize: u64,
    /// Weights quantized.
    pub quantize: BTreeMap<Quantizer, u64>,
    /// Products of quantized weights.
    pub products: u64,
    /// Products of floats.
    pub float_products: u64,
    /// What takes its time whatever the machine.
    pub fixed: Duration,
}

impl Work {
    /// A process to start, a file to map, a vocabulary to read.
    const START: Duration = Duration::from_millis(100);

    /// That of every step.
    pub fn start() -> Self {
        Self { fixed: Self::START, ..Self::default() }
    }

    /// That of writing a model.
    pub fn write(model: &PlannedModel) -> Self {
        Self {
            hash: model.bytes,
            write: model.bytes,
            dequantize: model.dequantize,
            quantize: model.quantize.clone(),
            ..Self::start()
        }
    }
}

/// What a model makes a machine do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelCost {
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

impl ModelCost {
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
