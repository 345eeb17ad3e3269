//! The names that a gpt-oss model's tensors have in a GGUF file (`src/models/openai-moe.cpp` of
//! llama.cpp).

/// What a tensor is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A row for each token, of which one is read.
    Embedding,
    /// A matrix, norm, bias or the sinks.
    Whole,
    /// A matrix or bias of all experts.
    Experts,
}

/// What the tensor `name` is to a model of `layers` layers; `None` if it has no such tensor.
pub fn part(name: &str, layers: usize) -> Option<Part> {
    let Some(rest) = name.strip_prefix("blk.") else {
        return match name {
            "token_embd.weight" => Some(Part::Embedding),
            "output_norm.weight" | "output.weight" => Some(Part::Whole),
            _ => None,
        };
    };
    let (layer, tensor) = rest.split_once('.')?;
    let number: usize = layer.parse().ok()?;
    // No leading zeros and no sign: there is one name for a layer.
    if number >= layers || number.to_string() != layer {
        return None;
    }
    let (stem, kind) = tensor.split_once('.')?;
    match (stem, kind) {
        ("attn_norm" | "attn_sinks" | "post_attention_norm", "weight") => Some(Part::Whole),
        ("attn_q" | "attn_k" | "attn_v" | "attn_output" | "ffn_gate_inp", "weight" | "bias") => {
            Some(Part::Whole)
        }
        ("ffn_gate_exps" | "ffn_up_exps" | "ffn_down_exps", "weight" | "bias") => {
            Some(Part::Experts)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_one_name() {
        assert_eq!(part("token_embd.weight", 2), Some(Part::Embedding));
        assert_eq!(part("blk.1.attn_q.bias", 2), Some(Part::Whole));
        assert_eq!(part("blk.0.ffn_up_exps.weight", 2), Some(Part::Experts));
        for none in [
            "blk.2.attn_q.bias",
            "blk.01.attn_q.bias",
            "blk.+1.attn_q.bias",
            "blk.0.attn_norm.bias",
            "blk.0.attn_q.scale",
            "blk.0.attn_q.weight.more",
            "blk.0.attn_qkv.weight",
            "rope_freqs.weight",
            "output.bias",
        ] {
            assert_eq!(part(none, 2), None, "{none}");
        }
    }
}
