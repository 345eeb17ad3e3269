//! What a comparison finds out, as it stands in the JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ggml::StoredType;

/// Result of [`CompareSpec`](crate::steps::CompareSpec): a file against one reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompareResult {
    pub bytes: u64,
    pub reference_bytes: u64,
    /// Bits of tensor data per weight.
    pub bits_per_weight: f64,
    pub reference_bits_per_weight: f64,
    /// Tensors per type.
    pub types: BTreeMap<String, usize>,
    pub reference_types: BTreeMap<String, usize>,
    /// Tensors that both have, in different types.
    pub type_differences: Vec<TypeDifference>,
    /// Tensors that only one of the two has, or that differ in shape, in words.
    pub unmatched: Vec<String>,
    pub tensor_error: TensorErrors,
    pub greedy: GreedyAgreement,
}

impl CompareResult {
    /// Whether both files hold the very same bytes in every tensor.
    pub fn same_weights(&self) -> bool {
        self.unmatched.is_empty() && self.tensor_error.identical == self.tensor_error.tensors
    }
}

/// A tensor in different types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TypeDifference {
    pub name: String,
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub ggml_type: StoredType,
    #[schemars(with = "String")]
    pub reference_type: StoredType,
}

/// How far the dequantized weights lie from the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TensorErrors {
    /// Tensors that were compared.
    pub tensors: usize,
    /// Of those, tensors whose bytes are the same.
    pub identical: usize,
    /// Root of the summed squared differences of all weights over that of the reference's weights.
    pub relative_rmse: f64,
    /// Median over the tensors.
    pub median_relative_rmse: f64,
    /// The ten tensors that differ most, the worst first; identical ones are left out.
    pub worst: Vec<TensorError>,
}

/// How far one tensor lies from the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TensorError {
    pub name: String,
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub ggml_type: StoredType,
    #[schemars(with = "String")]
    pub reference_type: StoredType,
    /// Root mean square of the differences over that of the reference's weights; where those are
    /// all zero, the root mean square of the differences.
    pub relative_rmse: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
}

/// How far greedy generation agrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GreedyAgreement {
    /// Tokens that the reference generated.
    pub tokens: usize,
    /// How many tokens both generate alike before the first difference; `tokens` if there is none.
    pub agreeing_prefix: usize,
    /// Share of the reference's tokens that the file would also choose after the reference's own
    /// text so far: one early difference does not spoil it.
    pub share: f64,
}
