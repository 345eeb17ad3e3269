use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

/// Tensors by name, of each format.
type Formats<T> = BTreeMap<String, BTreeMap<String, T>>;

#[derive(Deserialize)]
struct Oracle {
    convert: Formats<(GgmlType, Vec<u64>, String)>,
    quantize_keep_mxfp4: Formats<(GgmlType, String)>,
    quantize_requantized: Formats<(GgmlType, String)>,
    quantize_imatrix_requantized: Formats<(GgmlType, String)>,
}

fn oracle() -> Oracle {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle/tensors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

const NANO: Model = Model {
    architecture: "gpt-oss",
    layers: 4,
    predicting_layers: 0,
    experts: 12,
    heads: 4,
    kv_heads: 2,
};

/// Holds the choices for every format against what `llama-quantize` wrote from the f32 file.
fn agrees(
    oracle: &Oracle,
    formats: &Formats<(GgmlType, String)>,
    keep_native_mxfp4: bool,
    has_importance: bool,
) {
    let source = &oracle.convert["f32"];
    let tensors: Vec<Tensor> =
        source.iter().map(|(name, (ty, shape, _))| Tensor { name, ty: *ty, shape }).collect();
    for (format, expected) in formats {
        let mix: Mix = format.parse().unwrap();
        let policy = Policy { keep_native_mxfp4, has_importance, ..Policy::of(mix) };
        let choices = policy.choose(&NANO, &tensors).unwrap();
        for (tensor, choice) in tensors.iter().zip(&choices) {
            let expected = expected.get(tensor.name).map_or(tensor.ty, |(ty, _)| *ty);
            let why = choice.why(&[]);
            assert_eq!(choice.ty, expected, "{mix}, {}: {why}", tensor.name);
        }
    }
}

#[test]
fn keeping_mxfp4_gives_the_types_of_llama_quantize() {
    let oracle = oracle();
    assert!(oracle.quantize_keep_mxfp4.len() >= 25);
    agrees(&oracle, &oracle.quantize_keep_mxfp4, true, false);
}

#[test]
fn requantizing_gives_the_types_of_llama_quantize() {
    let oracle = oracle();
    assert!(oracle.quantize_requantized.len() >= 27);
    agrees(&oracle, &oracle.quantize_requantized, false, false);
}

#[test]
fn an_importance_matrix_gives_the_types_of_llama_quantize() {
    let oracle = oracle();
    assert_eq!(oracle.quantize_imatrix_requantized.len(), Mix::ALL.len() - 1, "all but f32");
    agrees(&oracle, &oracle.quantize_imatrix_requantized, false, true);
}

/// One choice for one tensor of a 24-layer model with 32 experts.
fn one(policy: Policy, name: &str, ty: GgmlType, shape: &[u64]) -> Choice {
    let model = Model { layers: 24, experts: 32, heads: 64, kv_heads: 8, ..Model::default() };
    let output = Tensor { name: "output.weight", ty: GgmlType::BF16, shape: &[2880, 201088] };
    policy.choose(&model, &[Tensor { name, ty, shape }, output]).unwrap()[0]
}

fn plain(mix: Mix) -> Policy<'static> {
    Policy { keep_native_mxfp4: true, ..Policy::of(mix) }
}

#[test]
fn reasons_are_said_in_words() {
    let rules = [
        Rule { pattern: Regex::new("^output\\.weight$").unwrap(), ty: GgmlType::Q6_K },
        Rule { pattern: Regex::new("attn_q").unwrap(), ty: GgmlType::Q4_0 },
    ];
    let policy = Policy { rules: &rules, ..plain(Mix::Q4_K_M) };
    let cases: [(&str, GgmlType, &[u64], GgmlType, &str); 7] = [
        ("blk.0.attn_output.weight", GgmlType::F32, &[4096, 2880], GgmlType::Q4_K, "q4_K_M mix"),
        (
            "blk.0.attn_k.weight",
            GgmlType::F32,
            &[2880, 512],
            GgmlType::Q5_0,
            "q4_K_M mix; 2880 columns are no multiple of 256: q4_K falls back to q5_0",
        ),
        (
            "output.weight",
            GgmlType::F32,
            &[2880, 99],
            GgmlType::Q8_0,
            "rule ^output\\.weight$; 2880 columns are no multiple of 256: q6_K falls back to q8_0",
        ),
        ("blk.0.attn_q.weight", GgmlType::F32, &[2880, 4096], GgmlType::Q4_0, "rule attn_q"),
        (
            "blk.0.ffn_up_exps.weight",
            GgmlType::MXFP4,
            &[2880, 2880, 32],
            GgmlType::MXFP4,
            "kept: native mxfp4",
        ),
        ("blk.0.attn_q.bias", GgmlType::F32, &[4096], GgmlType::F32, "kept: a bias"),
        ("blk.0.attn_sinks.weight", GgmlType::F32, &[64], GgmlType::F32, "kept: one dimension"),
    ];
    for (name, ty, shape, expected, why) in cases {
        let choice = one(policy, name, ty, shape);
        assert_eq!((choice.ty, choice.why(&rules).as_str()), (expected, why), "{name}");
    }
}

#[test]
fn rules_win_over_native_mxfp4_and_over_float_mixes() {
    let rules = [Rule { pattern: Regex::new("_exps").unwrap(), ty: GgmlType::Q8_0 }];
    for mix in [Mix::Q4_K_M, Mix::BF16] {
        let policy = Policy { rules: &rules, ..plain(mix) };
        let choice = one(policy, "blk.3.ffn_up_exps.weight", GgmlType::MXFP4, &[2880, 2880, 32]);
        assert_eq!((choice.ty, choice.reason), (GgmlType::Q8_0, Reason::Rule(0)), "{mix}");
    }
}

#[test]
fn rows_that_32_does_not_divide_become_f16() {
    let choice = one(plain(Mix::Q4_0), "blk.0.attn_q.weight", GgmlType::F32, &[100, 64]);
    assert_eq!(choice.ty, GgmlType::F16);
    assert_eq!(choice.fallback, Some(Fallback { from: GgmlType::Q4_0, columns: 100 }));
}

#[test]
fn the_order_of_tensors_does_not_matter() {
    let names: Vec<String> = (0..24).map(|n| format!("blk.{n}.attn_v.weight")).collect();
    let shape = [4096, 512];
    let mut tensors: Vec<Tensor> =
        names.iter().map(|name| Tensor { name, ty: GgmlType::F32, shape: &shape }).collect();
    let model = Model { layers: 24, experts: 32, heads: 64, kv_heads: 8, ..Model::default() };
    let ordered = plain(Mix::Q4_K_M).choose(&model, &tensors).unwrap();
    tensors.reverse();
    let mut reversed = plain(Mix::Q4_K_M).choose(&model, &tensors).unwrap();
    reversed.reverse();
    assert_eq!(ordered, reversed);
    assert_eq!(ordered[0].ty, GgmlType::Q6_K, "the first eighth gets more bits");
    assert_eq!(ordered[3].ty, GgmlType::Q4_K);
}

#[test]
fn what_is_garbage_without_importance_says_so() {
    let attention: (&str, &[u64]) = ("blk.5.attn_output.weight", &[4096, 2880]);
    let output: (&str, &[u64]) = ("output.weight", &[4096, 2048]);
    for (mix, (name, shape), needs) in [
        (Mix::Q2_K_S, attention, true),
        (Mix::Q2_K, attention, false),
        (Mix::IQ2_XXS, attention, true),
        (Mix::IQ3_S, attention, false),
        (Mix::IQ2_XXS, output, false),
    ] {
        let policy = Policy { output: Some(GgmlType::IQ2_XXS), ..plain(mix) };
        let choice = one(policy, name, GgmlType::F32, shape);
        assert_eq!(choice.needs_importance, needs, "{mix} {name}");
    }
}

#[test]
fn what_is_asked_of_embedding_and_output_wins_over_rules_and_pure() {
    let rules = [Rule { pattern: Regex::new("embd|output").unwrap(), ty: GgmlType::Q4_0 }];
    let policy = Policy {
        rules: &rules,
        pure: true,
        output: Some(GgmlType::Q6_K),
        token_embedding: Some(GgmlType::Q5_K),
        ..plain(Mix::Q4_K_M)
    };
    let cases: [(&str, u64, GgmlType, &str); 6] = [
        ("token_embd.weight", 4096, GgmlType::Q5_K, "token embedding type"),
        ("per_layer_token_embd.weight", 4096, GgmlType::Q4_0, "rule embd|output"),
        ("output.weight", 4096, GgmlType::Q6_K, "output tensor type"),
        (
            "output.weight",
            2880,
            GgmlType::Q8_0,
            "output tensor type; 2880 columns are no multiple of 256: q6_K falls back to q8_0",
        ),
        ("blk.0.attn_output.weight", 4096, GgmlType::Q4_0, "rule embd|output"),
        ("blk.0.attn_v.weight", 4096, GgmlType::Q4_K, "pure q4_K_M"),
    ];
    for (name, columns, ty, why) in cases {
        let choice = one(policy, name, GgmlType::F32, &[columns, 512]);
        assert_eq!((choice.ty, choice.why(&rules).as_str()), (ty, why), "{name}");
    }
    let leave = Policy { leave_output: true, ..policy };
    let choice = one(leave, "output.weight", GgmlType::BF16, &[4096, 512]);
    assert_eq!(
        (choice.ty, choice.why(&rules).as_str()),
        (GgmlType::BF16, "kept: the output tensor")
    );
}

#[test]
fn an_embedding_that_is_the_output_too_gets_the_output_type() {
    let model = Model { layers: 1, experts: 0, heads: 4, kv_heads: 2, ..Model::default() };
    let tensor = Tensor { name: "token_embd.weight", ty: GgmlType::F32, shape: &[4096, 512] };
    let policy = Policy { output: Some(GgmlType::Q5_1), ..plain(Mix::Q4_K_M) };
    let choice = policy.choose(&model, &[tensor]).unwrap()[0];
    assert_eq!((choice.ty, choice.reason), (GgmlType::Q5_1, Reason::Output));
    // As llama-quantize does: without mixtures it is a tensor like any other.
    let pure = Policy { pure: true, ..policy };
    assert_eq!(pure.choose(&model, &[tensor]).unwrap()[0].ty, GgmlType::Q4_K);
}

#[test]
fn an_expert_without_a_layer_is_refused() {
    let model = Model { layers: 24, experts: 32, heads: 64, kv_heads: 8, ..Model::default() };
    for name in ["blk.24.ffn_down_exps.weight", "ffn_down_exps.weight"] {
        let tensors = [Tensor { name, ty: GgmlType::F32, shape: &[2880, 2880, 32] }];
        let error = plain(Mix::Q4_K_M).choose(&model, &tensors).unwrap_err();
        assert_eq!(error, PolicyError::BadLayer { tensor: name.into(), layers: 24 });
    }
}
