//! Which keys are obeyed, refused and warned of.

use super::*;
use crate::arch::gpt_oss::GPT_OSS;

fn metadata() -> Metadata {
    let mut m = Metadata::default();
    for (key, value) in [
        ("block_count", 4),
        ("context_length", 131072),
        ("embedding_length", 192),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("attention.key_length", 64),
        ("attention.value_length", 64),
        ("expert_count", 12),
        ("expert_used_count", 4),
        ("expert_feed_forward_length", 192),
        ("rope.scaling.original_context_length", 4096),
        ("attention.sliding_window", 128),
    ] {
        m.set(full(key), Value::U32(value));
    }
    m.set(full("attention.layer_norm_rms_epsilon"), Value::F32(1e-5));
    m.set(full("rope.freq_base"), Value::F32(150000.0));
    m.set(full("rope.scaling.type"), text("yarn"));
    m.set(full("rope.scaling.factor"), Value::F32(32.0));
    let tokens = vec!["a".to_owned(), "b".to_owned()];
    m.set("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    m
}

fn full(name: &str) -> String {
    format!("gpt-oss.{name}")
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn with(key: &str, value: Value) -> Metadata {
    let mut m = metadata();
    m.set(full(key), value);
    m
}

fn read(key: &str, value: Value) -> Hyper {
    GPT_OSS.from_metadata(&with(key, value)).unwrap()
}

#[test]
fn reads_what_llama_cpp_writes() {
    let config = GPT_OSS.from_metadata(&metadata()).unwrap();
    assert_eq!((config.layers, config.vocab, config.head_dim), (4, 2, 64));
    assert_eq!((config.rope_beta_fast, config.rope_beta_slow), (32.0, 1.0));
    assert_eq!(config.sliding, [true, false, true, false]);
    assert!(config.rope_scaling == RopeScaling::Yarn);
    assert_eq!(config.rope_attention_factor, 1.0);
    assert!(GPT_OSS.warnings(&metadata()).is_empty());
}

#[test]
fn the_pattern_says_which_layers_slide() {
    let pattern = |value| read("attention.sliding_window_pattern", value).sliding;
    assert_eq!(pattern(Value::U32(0)), [true; 4]);
    assert_eq!(pattern(Value::U32(3)), [true, true, false, true]);
    assert_eq!(pattern(Value::U32(4)), [true, true, true, false]);
    let marked = [false, false, true, true];
    assert_eq!(pattern(Value::Array(Array::Bool(marked.to_vec()))), marked);
    assert_eq!(pattern(Value::Array(Array::U32(vec![0, 0, 1, 5]))), marked);
    assert_eq!(pattern(Value::Array(Array::I32(vec![0, 0, -1, 1]))), marked);
}

#[test]
fn positions_are_as_the_keys_say() {
    let base = read("rope.freq_base_swa", Value::F32(10000.0));
    assert_eq!((base.rope_theta, base.rope_theta_sliding), (150000.0, 10000.0));
    assert_eq!(read("rope.scaling.attn_factor", Value::F32(2.0)).rope_attention_factor, 2.0);
    assert_eq!(read("rope.scaling.type", text("linear")).rope_scaling, RopeScaling::Linear);
    assert_eq!(read("rope.scaling.factor", Value::F32(0.0)).rope_factor, 1.0);
}

#[test]
fn what_llama_cpp_takes_for_granted_is_taken() {
    let mut m = metadata();
    for key in [
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "rope.freq_base",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
    ] {
        m.remove(&full(key));
    }
    m.set(full("attention.head_count"), Value::U32(3));
    m.set(full("rope.scale_linear"), Value::F32(8.0));
    let config = GPT_OSS.from_metadata(&m).unwrap();
    assert_eq!((config.kv_heads, config.head_dim), (3, 64));
    assert_eq!((config.rope_theta, config.rope_factor), (10000.0, 8.0));
    assert_eq!((config.rope_scaling, config.rope_original_context), (RopeScaling::Linear, 131072));
}

#[test]
fn counts_by_layer_are_one_where_all_are_the_same() {
    for key in ["attention.head_count", "attention.head_count_kv", "expert_used_count"] {
        let config = read(key, Value::Array(Array::U32(vec![2; 4])));
        let counts = [config.heads, config.kv_heads, config.experts_used];
        assert!(counts.contains(&2), "{key}");
        let config = read(key, Value::Array(Array::I32(vec![2; 4])));
        assert!([config.heads, config.kv_heads, config.experts_used].contains(&2), "{key}");
    }
    let wide = read("expert_feed_forward_length", Value::Array(Array::U32(vec![64; 4])));
    assert_eq!(wide.width, 64);
    read("feed_forward_length", Value::Array(Array::U32(vec![1, 2, 3, 4])));
}

#[test]
fn says_which_key_is_wrong() {
    let array = |v: &[u32]| Value::Array(Array::U32(v.to_vec()));
    let cases = [
        ("block_count", Value::U32(0), "gpt-oss.block_count is 0; expected 1 to 512"),
        ("block_count", Value::U32(513), "513; expected 1 to 512"),
        ("block_count", Value::Bool(true), "gpt-oss.block_count is stored as bool; expected u32"),
        ("attention.head_count", Value::U64(4), "stored as u64; expected u32"),
        ("attention.head_count", Value::I32(4), "stored as i32; expected u32"),
        ("attention.head_count", Value::U32(5), "multiple of the 2 key/value heads"),
        ("attention.head_count_kv", array(&[2, 2, 1, 2]), "1 in layer 2 and 2 in layer 0"),
        ("attention.head_count_kv", array(&[2, 2]), "an array of 2; expected one element for each"),
        (
            "attention.head_count",
            Value::Array(Array::U64(vec![4; 4])),
            "stored as array of 4 u64; expected u32, or an array of u32 or i32",
        ),
        ("attention.key_length", Value::U32(13), "an even number"),
        (
            "attention.key_length",
            Value::U32(32),
            "gpt-oss.attention.value_length is 64; expected 32",
        ),
        ("attention.value_length", Value::U32(32), "expected 64"),
        ("attention.key_length_swa", Value::U32(32), "key_length_swa is 32; expected 64"),
        ("attention.value_length_swa", Value::U32(32), "expected 64"),
        ("rope.dimension_count", Value::U32(32), "expected 64"),
        ("rope.dimension_count_swa", Value::U32(32), "expected 64"),
        ("attention.sliding_window", array(&[128; 4]), "stored as array of 4 u32"),
        ("attention.sliding_window_pattern", array(&[1; 3]), "expected one element for each of"),
        (
            "attention.sliding_window_pattern",
            Value::Array(Array::F32(vec![1.0; 4])),
            "stored as array of 4 f32",
        ),
        ("attention.sliding_window_pattern", text("half"), "stored as string"),
        ("attention.sliding_window_pattern", Value::U32(1), "llama.cpp stops where none does"),
        ("attention.sliding_window_pattern", array(&[0; 4]), "llama.cpp stops where none does"),
        ("attention.causal", Value::Bool(false), "attention.causal is false"),
        ("nextn_predict_layers", Value::U32(1), "nextn_predict_layers is 1; expected 0"),
        ("expert_group_count", Value::U32(2), "groups are not computed"),
        ("expert_count", Value::U32(1025), "expected 1 to 1024"),
        ("expert_used_count", Value::U32(13), "at most the 12 experts"),
        ("expert_used_count", array(&[4, 4, 4, 2]), "2 in layer 3 and 4 in layer 0"),
        ("feed_forward_length", Value::U64(192), "stored as u64"),
        ("rope.scaling.type", text("longrope"), "expected yarn, linear or none"),
        ("rope.scaling.type", text("none"), "none with a factor"),
        ("rope.scaling.finetuned", Value::U32(1), "stored as u32; expected bool"),
        ("rope.scaling.factor", Value::F32(-1.0), "a positive number"),
        ("rope.scaling.factor", Value::F64(32.0), "stored as f64; expected f32"),
        ("rope.freq_base", Value::F32(f32::NAN), "expected a positive number"),
        ("rope.freq_base_swa", Value::F32(0.0), "rope.freq_base_swa is 0"),
        ("rope.scaling.attn_factor", Value::F32(f32::INFINITY), "attn_factor is inf"),
    ];
    for (key, value, expected) in cases {
        let message = GPT_OSS.from_metadata(&with(key, value)).unwrap_err().to_string();
        assert!(message.contains(expected), "{key}: {message}");
        assert!(message.contains("gpt-oss."), "{message}");
    }
    for key in ["expert_count", "attention.head_count", "attention.layer_norm_rms_epsilon"] {
        let mut m = metadata();
        m.remove(&full(key));
        let message = GPT_OSS.from_metadata(&m).unwrap_err().to_string();
        assert!(message.contains(&format!("{} is missing", full(key))), "{message}");
    }
}

#[test]
fn keys_of_no_effect_are_named() {
    let mut m = with("attention.scale", Value::F32(0.5));
    let one = "metadata: a key of no effect, neither here nor in llama.cpp's gpt-oss: \
               gpt-oss.attention.scale";
    assert_eq!(GPT_OSS.warnings(&m), [one]);
    m.set(full("expert_weights_scale"), Value::F32(2.0));
    m.set("llama.attention.scale", Value::F32(2.0));
    let warning = &GPT_OSS.warnings(&m)[0];
    assert!(warning.contains("2 keys"), "{warning}");
    assert!(
        warning.ends_with("gpt-oss.attention.scale, gpt-oss.expert_weights_scale"),
        "{warning}"
    );
}

#[test]
fn a_ramp_that_llama_cpp_does_not_read_is_told() {
    assert!(GPT_OSS.warnings(&with("rope.scaling.yarn_beta_fast", Value::F32(32.0))).is_empty());
    let m = with("rope.scaling.yarn_beta_slow", Value::F32(2.0));
    assert_eq!(GPT_OSS.from_metadata(&m).unwrap().rope_beta_slow, 2.0);
    assert!(
        GPT_OSS.warnings(&m)[0].contains("yarn_beta_slow is 2; it is obeyed here, but llama.cpp")
    );
}
