//! Where a model's bytes go: its tensors by the part they play, told from their names, with the bits
//! that a weight of each takes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::arch::Part;
use crate::gguf::{TensorInfo, bits_per_weight};

/// The groups, in the order of a token's way through the model.
const GROUPS: [&str; 15] = [
    "token_embedding",
    "attention_query",
    "attention_key",
    "attention_value",
    "attention_output",
    "router",
    "experts_gate",
    "experts_up",
    "experts_down",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    NORMS_AND_BIASES,
    "output",
    "other",
];

/// The group of the tensor `name`, of whichever architecture.
fn group_of(name: &str) -> &'static str {
    if name.ends_with(".bias") || name.ends_with("norm.weight") {
        return NORMS_AND_BIASES;
    }
    match Part::of(name).map(|(part, _)| part) {
        Some(Part::TokenEmbedding) => "token_embedding",
        Some(Part::Query) => "attention_query",
        Some(Part::Key) => "attention_key",
        Some(Part::Value) => "attention_value",
        Some(Part::AttentionOutput) => "attention_output",
        Some(Part::Router) => "router",
        Some(Part::ExpertGate) => "experts_gate",
        Some(Part::ExpertUp) => "experts_up",
        Some(Part::ExpertDown) => "experts_down",
        Some(Part::Gate) => "ffn_gate",
        Some(Part::Up) => "ffn_up",
        Some(Part::Down) => "ffn_down",
        Some(
            Part::AttentionNorm
            | Part::QueryNorm
            | Part::KeyNorm
            | Part::Sinks
            | Part::FeedForwardNorm
            | Part::OutputNorm,
        ) => NORMS_AND_BIASES,
        Some(Part::Output) => "output",
        None => "other",
    }
}

/// Small tensors that are never quantized.
const NORMS_AND_BIASES: &str = "norms_and_biases";

/// The tensors of one group.
#[derive(Debug, Serialize)]
pub struct Group {
    group: &'static str,
    tensors: usize,
    parameters: u64,
    bytes: u64,
    /// Part of the bytes of all tensors, from 0 to 1.
    share: f64,
    bits_per_weight: f64,
    /// Tensors by type.
    types: BTreeMap<Cow<'static, str>, usize>,
}

/// The groups that have tensors, in the order of a token's way through the model.
pub fn groups(tensors: &[TensorInfo]) -> Vec<Group> {
    let all: u64 = tensors.iter().map(TensorInfo::bytes).sum();
    let group = |name: &'static str| {
        let members: Vec<&TensorInfo> =
            tensors.iter().filter(|info| group_of(&info.name) == name).collect();
        let bytes = members.iter().map(|info| info.bytes()).sum();
        let parameters = members.iter().map(|info| info.elements()).sum();
        let mut types = BTreeMap::new();
        for info in &members {
            *types.entry(info.ggml_type.name()).or_default() += 1;
        }
        (!members.is_empty()).then(|| Group {
            group: name,
            tensors: members.len(),
            parameters,
            bytes,
            share: if all == 0 { 0.0 } else { bytes as f64 / all as f64 },
            bits_per_weight: bits_per_weight(members.iter().copied()),
            types,
        })
    };
    GROUPS.into_iter().filter_map(group).collect()
}

/// The groups as a table.
pub fn table(groups: &[Group]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "group",
        "tensors",
        "weights",
        "bytes",
        "share",
        "bits per\nweight",
        "types",
    ]);
    for group in groups {
        let types: Vec<String> =
            group.types.iter().map(|(name, count)| format!("{count} {name}")).collect();
        table.add_row([
            group.group.replace('_', " "),
            group.tensors.to_string(),
            group.parameters.to_string(),
            group.bytes.to_string(),
            format!("{:.1}%", group.share * 100.0),
            format!("{:.2}", group.bits_per_weight),
            types.join(", "),
        ]);
    }
    for column in 1..=5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::GgmlType;

    #[test]
    fn every_tensor_is_of_one_group() {
        let info = |name: &str, ggml_type: GgmlType, shape: &[u64]| {
            TensorInfo::new(name, ggml_type, shape)
        };
        let tensors = [
            info("output.weight", GgmlType::Q8_0, &[64, 10]),
            info("output_norm.weight", GgmlType::F32, &[64]),
            info("blk.0.attn_output.weight", GgmlType::Q4_0, &[64, 64]),
            info("blk.1.attn_output.weight", GgmlType::F16, &[64, 64]),
            info("blk.0.attn_output.bias", GgmlType::F32, &[64]),
            info("blk.0.attn_sinks.weight", GgmlType::F32, &[4]),
            info("blk.0.ffn_gate_exps.weight", GgmlType::MXFP4, &[64, 64, 2]),
            info("rope_freqs", GgmlType::F32, &[4]),
        ];
        let groups = groups(&tensors);
        let found: Vec<_> = groups.iter().map(|g| (g.group, g.tensors, g.parameters)).collect();
        assert_eq!(
            found,
            [
                ("attention_output", 2, 8192),
                ("experts_gate", 1, 8192),
                ("norms_and_biases", 3, 132),
                ("output", 1, 640),
                ("other", 1, 4)
            ]
        );
        assert_eq!(groups[0].bits_per_weight, (4.5 + 16.0) / 2.0);
        assert_eq!(groups.iter().map(|g| g.tensors).sum::<usize>(), tensors.len());
        assert!((groups.iter().map(|g| g.share).sum::<f64>() - 1.0).abs() < 1e-12);
        let shown = table(&groups);
        assert!(shown.contains("10.25  1 f16, 1 q4_0"), "{shown}");
    }
}
