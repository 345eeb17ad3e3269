//! What a checkpoint of gpt-oss's shape holds and where: its configuration, its tensors, and the
//! header of the file they are in. Knows nothing of weights.

use std::collections::BTreeMap;
use std::error::Error;

use qrun::arch::Config;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::json;

/// `config.json` of gpt-oss-20b, with fewer layers where asked.
pub fn config_20b(layers: u8) -> String {
    let config = json!({
        "num_hidden_layers": layers,
        "num_experts": 32,
        "experts_per_token": 4,
        "vocab_size": 201_088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "swiglu_limit": 7.0,
        "head_dim": 64,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "sliding_window": 128,
        "initial_context_length": 4096,
        "rope_theta": 150_000,
        "rope_scaling_factor": 32.0,
        "rope_ntk_alpha": 1,
        "rope_ntk_beta": 32,
    });
    format!("{config:#}\n")
}

/// Names, types, shapes and places of the tensors, in the file's order: as the safetensors library
/// has it, by type, then by name.
pub fn tensors(config: &str) -> Result<Vec<(String, TensorInfo)>, Box<dyn Error>> {
    let config = Config::from_json(config)?;
    let mut shapes = BTreeMap::new();
    for mapped in config.architecture.map(&config.hyper, config.layout, &|_| true) {
        let dtype = if mapped.is_mxfp4() { Dtype::U8 } else { Dtype::BF16 };
        for stored in mapped.stored() {
            let shape: Vec<usize> = stored.shape.iter().map(|&d| d as usize).collect();
            shapes.insert((dtype == Dtype::U8, stored.name.clone()), (dtype, shape));
        }
    }
    let mut end = 0;
    let place = |((_, name), (dtype, shape)): ((bool, String), (Dtype, Vec<usize>))| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name, TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    Ok(shapes.into_iter().map(place).collect())
}

/// What stands before the tensors: a length, then JSON.
pub fn header(tensors: &[(String, TensorInfo)]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut json = serde_json::to_vec(&Metadata::new(None, tensors.to_vec())?)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}
