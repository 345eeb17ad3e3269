//! Where a model's bytes go: its tensors by the part they play, told from their names, with the bits
//! that a weight of each takes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::arch::Part;
use crate::gguf::{TensorInfo, bits_per_weight};

/// The groups and the parts whose weights are in them, in the order of a token's way through the model.
const GROUPS: [(&str, &[Part]); 15] = [
    ("token_embedding", &[Part::TokenEmbedding]),
    ("attention_query", &[Part::Query]),
    ("attention_key", &[Part::Key]),
    ("attention_value", &[Part::Value]),
    ("attention_output", &[Part::AttentionOutput]),
    ("router", &[Part::Router]),
    ("experts_gate", &[Part::ExpertGate]),
    ("experts_up", &[Part::ExpertUp]),
    ("experts_down", &[Part::ExpertDown]),
    ("ffn_gate", &[Part::Gate]),
    ("ffn_up", &[Part::Up]),
    ("ffn_down", &[Part::Down]),
    (NORMS_AND_BIASES, &[Part::Sinks]),
    ("output", &[Part::Output]),
    ("other", &[]),
];

/// The group of the tensor `name`, of whichever architecture.
fn group_of(name: &str) -> &'static str {
    if name.ends_with(".bias") || name.ends_with("norm.weight") {
        return NORMS_AND_BIASES;
    }
    let part = Part::of(name).map(|(part, _)| part);
    let has = |parts: &[Part]| part.is_some_and(|part| parts.contains(&part));
    GROUPS.iter().find(|(_, parts)| has(parts)).map_or("other", |(group, _)| group)
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
    GROUPS.into_iter().filter_map(|(name, _)| group(name)).collect()
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
