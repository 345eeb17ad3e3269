//! Which configurations are read, and which are refused by name.

use super::*;

const NANO: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt-oss-nano/config.json"));
const NANO_ORIGINAL: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/gpt-oss-nano/original/config.json"
));

#[test]
fn both_kinds_describe_the_same_model() {
    let ours = Config::from_json(NANO).unwrap();
    let original = Config::from_json(NANO_ORIGINAL).unwrap();
    assert_eq!((ours.layout().name, original.layout().name), ("Hugging Face", "original"));
    assert_eq!(ours.hyper, original.hyper);
    let ours = ours.hyper;
    assert_eq!((ours.layers, ours.experts, ours.context), (4, 12, 131_072));
}

fn hyper(text: &str) -> Hyper {
    Config::from_json(text).unwrap().hyper
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = hyper(r#"{"model_type": "gpt_oss"}"#);
    assert_eq!((config.layers, config.experts, config.experts_used), (36, 128, 4));
    assert_eq!((config.rope_theta, config.rope_factor), (150_000.0, 32.0));
}

#[test]
fn transformers_5_keeps_rope_elsewhere() {
    let text = r#"{"model_type": "gpt_oss", "rope_scaling": {"factor": 8},
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000, "factor": 16.0,
        "original_max_position_embeddings": 2048}}"#;
    let config = hyper(text);
    assert_eq!((config.rope_theta, config.rope_factor), (10_000.0, 16.0));
    assert_eq!((config.rope_theta_sliding, config.rope_original_context), (10_000.0, 2048));
}

#[test]
fn positions_of_another_kind_are_refused_by_name() {
    let rope = |rest: &str| {
        let text = format!(
            r#"{{"model_type": "gpt_oss", "rope_parameters": {{"rope_type": "yarn",
            "factor": 32.0, "original_max_position_embeddings": 4096{rest}}}}}"#
        );
        Config::from_json(&text).map_err(|e| e.to_string())
    };
    assert!(rope(r#", "attention_factor": 1.3465736, "extrapolation_factor": 1.0"#).is_ok());
    assert!(rope(r#", "mscale": 1.0"#).is_ok());
    for (rest, expected) in [
        (r#", "attention_factor": 1.0"#, "rope_scaling.attention_factor: expected 1.346"),
        (r#", "attn_factor": 2.0"#, "rope_scaling.attn_factor: expected 1.346"),
        (r#", "extrapolation_factor": 0.5"#, "rope_scaling.extrapolation_factor: expected 1"),
        (r#", "partial_rotary_factor": 0.5"#, "partial_rotary_factor: expected 1"),
        (r#", "mscale": 1.0, "mscale_all_dim": 0.8"#, "mscale 1 and mscale_all_dim 0.8"),
        (r#", "sliding_attention": {"rope_theta": 10000}"#, "the same for all layers"),
    ] {
        let message = rope(rest).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    let top = |rest: &str| {
        let text = format!(r#"{{"model_type": "gpt_oss", {rest}}}"#);
        Config::from_json(&text).unwrap_err().to_string()
    };
    let null = "rope_scaling: expected YaRN's parameters, found null";
    assert!(top(r#""rope_scaling": null"#).contains(null));
    assert!(top(r#""rope_scaling": {"factor": 8}"#).contains("rope_type: expected yarn"));
    assert!(top(r#""rope_scaling": {"type": "yarn"}"#).contains("rope_scaling.factor"));
    let factor = top(r#""rope_scaling": {"type": "yarn", "factor": 2}"#);
    assert!(factor.contains("original_max_position_embeddings"), "{factor}");
    assert!(top(r#""partial_rotary_factor": 0.5"#).contains("partial_rotary_factor"));
    assert!(top(r#""n_group": 4"#).contains("n_group"));
    assert!(top(r#""is_causal": false"#).contains("is_causal: expected true"));
}

#[test]
fn what_cannot_be_is_named() {
    let message = |text: &str| Config::from_json(text).unwrap_err().to_string();
    let hf = |rest: &str| message(&format!(r#"{{"model_type": "gpt_oss", {rest}}}"#));
    assert!(message("{").contains("EOF"));
    assert!(message("[]").contains("expected a JSON object"));
    assert!(message(r#"{"model_type": "llama"}"#).contains("expected gpt_oss"));
    assert!(
        message(r#"{"num_hidden_layers": 4}"#)
            .contains("hidden_size: expected a number, found none")
    );
    assert!(hf(r#""hidden_size": "x""#).contains("expected a whole number, found \"x\" at line 1"));
    assert!(hf(r#""num_hidden_layers": 0"#).contains("num_hidden_layers: expected 1 to 512"));
    assert!(hf(r#""hidden_size": 99999999999"#).contains("hidden_size: expected 1 to"));
    assert!(
        hf(r#""num_key_value_heads": 7"#)
            .contains("num_attention_heads: expected a multiple of the 7")
    );
    assert!(
        hf(r#""num_experts_per_tok": 200"#)
            .contains("num_experts_per_tok: expected at most the 128 experts")
    );
    assert!(hf(r#""swiglu_limit": 8.0"#).contains("a GGUF file cannot say otherwise"));
    assert!(hf(r#""rope_theta": -1"#).contains("rope_theta: expected a positive number"));
    assert!(hf(r#""rope_scaling": {"rope_type": "linear"}"#).contains("expected yarn"));
    assert!(hf(r#""num_experts_per_tok": 4, "experts_per_token": 8"#).contains("expected 4, as"));
    assert!(hf(r#""quantization_config": {"quant_method": "fp8"}"#).contains("expected mxfp4"));
    assert!(hf(r#""tie_word_embeddings": true"#).contains("tie_word_embeddings"));
    let types =
        r#""num_hidden_layers": 2, "layer_types": ["sliding_attention", "sliding_attention"]"#;
    assert!(hf(types).contains("expected full_attention in layer 1"));
}
