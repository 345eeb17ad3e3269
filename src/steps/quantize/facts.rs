//! What the choice of types asks about a model, out of its metadata: the keys that every
//! architecture has. Knows nothing of what is made of them.

use crate::ggml::policy::Model;
use crate::gguf::{Array, Metadata, Value};

/// More than any model has, and few enough that no share of it overflows.
const MOST: u64 = u32::MAX as u64 / 16;

/// The facts of the model whose metadata is `metadata`. Where a key holds a number for each layer,
/// the first layer's counts, as for llama.cpp.
pub(super) fn of(metadata: &Metadata) -> Model<'_> {
    let architecture = metadata.str("general.architecture").unwrap_or_default();
    let number = |key: &str| {
        let key = format!("{architecture}.{key}");
        let value = metadata.u64(&key).or_else(|| first(metadata.get(&key)?))?;
        Some(value.min(MOST) as usize)
    };
    let heads = number("attention.head_count").unwrap_or(0);
    Model {
        architecture,
        layers: number("block_count").unwrap_or(0),
        predicting_layers: number("nextn_predict_layers").unwrap_or(0),
        experts: number("expert_count").unwrap_or(0),
        heads,
        kv_heads: number("attention.head_count_kv").unwrap_or(heads),
    }
}

/// The first number of an array; llama.cpp reads arrays of 32 bits only.
fn first(value: &Value) -> Option<u64> {
    match value {
        Value::Array(Array::U32(values)) => values.first().map(|&n| n.into()),
        Value::Array(Array::I32(values)) => values.first()?.to_owned().try_into().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::policy::{Policy, Tensor};
    use crate::ggml::{GgmlType, Mix};

    #[test]
    fn a_file_that_claims_endless_layers_is_no_panic() {
        let mut metadata = Metadata::default();
        metadata.set("general.architecture", Value::String("gpt-oss".into()));
        metadata.set("gpt-oss.block_count", Value::U64(u64::MAX));
        let model = of(&metadata);
        let names = ["blk.3.ffn_down.weight", "blk.3.ffn_up.weight", "blk.3.attn_v.weight"];
        let tensors = names.map(|name| Tensor { name, ty: GgmlType::F16, shape: &[256, 256] });
        for &mix in Mix::ALL {
            // A mix may be refused; it is the arithmetic that counts.
            let _ = Policy::of(mix).choose(&model, &tensors);
        }
        // Nothing that is taken of the layers overflows, on 32 bits neither.
        assert!(u32::try_from(model.layers).is_ok_and(|n| n.checked_mul(7).is_some()));
    }
}
