//! gpt-oss: attention with sinks and alternating sliding windows, YaRN, mixture of experts.
//!
//! Sources: `gpt_oss/torch/model.py` of openai/gpt-oss, `GptOssConfig` and `modeling_gpt_oss.py` of
//! transformers, `conversion/gpt_oss.py` and `src/models/openai-moe.cpp` of llama.cpp (for the keys
//! also `load_hparams` in `src/llama-model.cpp` and, for the rotary positions,
//! `src/llama-context.cpp`, of build b11434).

use serde_json::{Value, json};

use super::config::{Json, get};
use super::keys::{Fixed, Is, Key, Named, Reading, Slot};
use super::parts::Dim::{self, Experts, Heads, Hidden, Keys, Queries, Vocab, Width};
use super::parts::Make::{self, Cut, Linear, Same};
use super::parts::{ExpertNames, Part, Row};
use super::{Architecture, ConfigError, Decoder, Hyper, Layout, Pairing, RopeScaling};
use crate::compute::Activation;

pub static GPT_OSS: Architecture = Architecture {
    name: "gpt-oss",
    keys: KEYS,
    fixed: FIXED,
    layouts: LAYOUTS,
    rows: ROWS,
    vocabularies: &["o200k_harmony"],
    decoder: |hyper| {
        Decoder::usual(hyper, Activation::ClampedSwiglu { limit: SWIGLU_LIMIT }, Pairing::Halves)
    },
};

/// `LLAMA_MAX_LAYERS` and `LLAMA_MAX_EXPERTS` of llama.cpp, the most that it loads.
const MAX_LAYERS: usize = 512;
const MAX_EXPERTS: usize = 1024;
/// Most heads, and elements of one, that are believed.
const MAX_COUNT: usize = 1 << 12;
/// Largest width, vocabulary and context that are believed.
const MAX_WIDTH: usize = 1 << 24;

/// A value under the same name in both layouts, with transformers' default.
macro_rules! both {
    ($name:literal, $default:literal) => {
        &[Named::or(&[$name], |_| $default), Named::required(&[$name])]
    };
}

#[rustfmt::skip]
static KEYS: &[Key] = &[
    Key::count("block_count", MAX_LAYERS, |h| &mut h.layers).json(both!("num_hidden_layers", 36.0)),
    Key::count("context_length", MAX_WIDTH, |h| &mut h.context).json(&[
        Named::or(&["max_position_embeddings"], |_| 131_072.0),
        Named::or(&[], |h| h.rope_original_context as f64 * f64::from(h.rope_factor)),
    ]),
    Key::count("embedding_length", MAX_WIDTH, |h| &mut h.hidden).json(both!("hidden_size", 2880.0)),
    Key::count("feed_forward_length", MAX_WIDTH, |h| &mut h.width).reading(Reading::Typed),
    Key::count("attention.head_count", MAX_COUNT, |h| &mut h.heads).by_layer()
        .json(both!("num_attention_heads", 64.0)),
    Key::count("attention.head_count_kv", MAX_COUNT, |h| &mut h.kv_heads).by_layer()
        .or(|h| h.heads as f64).json(both!("num_key_value_heads", 8.0)),
    Key::new("rope.scaling.type", Slot::Scaling(|h| &mut h.rope_scaling)),
    Key::new("rope.scaling.factor", Slot::Real { at: |h| &mut h.rope_factor, zero_is_one: true })
        .older("rope.scale_linear").or(|_| 1.0)
        .json(&[Named::required(&["rope_scaling.factor"]), Named::required(&["rope_scaling_factor"])]),
    Key::count("rope.scaling.original_context_length", MAX_WIDTH, |h| &mut h.rope_original_context)
        .or(|h| h.context as f64).json(&[
            Named::required(&["rope_scaling.original_max_position_embeddings"]),
            Named::required(&["initial_context_length"]),
        ]),
    Key::real("rope.scaling.yarn_beta_fast", |h| &mut h.rope_beta_fast).or(|_| 32.0).in_llama_cpp(32.0)
        .json(&[Named::or(&["rope_scaling.beta_fast"], |_| 32.0), Named::required(&["rope_ntk_beta"])]),
    Key::real("rope.scaling.yarn_beta_slow", |h| &mut h.rope_beta_slow).or(|_| 1.0).in_llama_cpp(1.0)
        .json(&[Named::or(&["rope_scaling.beta_slow"], |_| 1.0), Named::required(&["rope_ntk_alpha"])]),
    Key::real("rope.freq_base", |h| &mut h.rope_theta).or(|_| 10_000.0).json(&[
        Named::or(&["rope_scaling.rope_theta", "rope_theta"], |_| 150_000.0),
        Named::required(&["rope_theta"]),
    ]),
    // `model.py` has no key for it.
    Key::real("attention.layer_norm_rms_epsilon", |h| &mut h.rms_eps)
        .json(&[Named::or(&["rms_norm_eps"], |_| 1e-5), Named::or(&[], |_| 1e-5)]),
    Key::count("expert_count", MAX_EXPERTS, |h| &mut h.experts)
        .json(&[Named::or(&["num_local_experts"], |_| 128.0), Named::required(&["num_experts"])]),
    Key::count("expert_used_count", MAX_EXPERTS, |h| &mut h.experts_used).by_layer().json(&[
        Named::or(&["num_experts_per_tok", "experts_per_token"], |_| 4.0),
        Named::required(&["experts_per_token"]),
    ]),
    Key::count("attention.key_length", MAX_COUNT, |h| &mut h.head_dim)
        .or(|h| (h.hidden / h.heads) as f64).json(both!("head_dim", 64.0)),
    head_dim("attention.value_length"),
    Key::new("", Slot::FileType),
    Key::count("attention.sliding_window", MAX_WIDTH, |h| &mut h.sliding_window)
        .json(both!("sliding_window", 128.0)),
    Key::count("expert_feed_forward_length", MAX_WIDTH, |h| &mut h.width).by_layer()
        .json(both!("intermediate_size", 2880.0)),
    // What a file may say and the converter does not write.
    Key::count("vocab_size", MAX_WIDTH, |h| &mut h.vocab).reading(Reading::Counted).unwritten().json(both!("vocab_size", 201_088.0)),
    Key::real("rope.freq_base_swa", |h| &mut h.rope_theta_sliding).or(|h| h.rope_theta.into()).unwritten(),
    Key::real("rope.scaling.attn_factor", |h| &mut h.rope_attention_factor).or(|_| 1.0).unwritten(),
    // In published models every second layer sees everything, the first does not.
    Key::new("attention.sliding_window_pattern", Slot::Sliding { at: |h| &mut h.sliding, usual: 2 }).unwritten(),
    head_dim("attention.key_length_swa").unwritten(),
    head_dim("attention.value_length_swa").unwritten(),
    head_dim("rope.dimension_count").unwritten(),
    head_dim("rope.dimension_count_swa").unwritten(),
];

/// A key that says once more how large a head is.
const fn head_dim(name: &'static str) -> Key {
    Key::count(name, MAX_COUNT, |h| &mut h.head_dim)
        .reading(Reading::Repeats("the size of a head in attention.key_length"))
}

static FIXED: &[Fixed] = &[
    Fixed::new("nextn_predict_layers", Is::AtMost(0), ", since such layers are not computed"),
    Fixed::new("attention.causal", Is::Flag(true), "; nothing else is computed"),
    Fixed::new("expert_group_count", Is::AtMost(1), "; groups are not computed"),
    Fixed::new("expert_group_used_count", Is::Any("u32"), ""),
    Fixed::new("pooling_type", Is::Any("u32"), ""),
    Fixed::new("rope.scaling.alpha", Is::Any("f32"), ""),
    Fixed::new("rope.scaling.finetuned", Is::Any("bool"), ""),
    Fixed::new("tensor_data_layout", Is::Anything, ""),
];

/// The bound on the experts' activations in every published model. GGUF has no key for it.
const SWIGLU_LIMIT: f32 = 7.0;
const LIMIT: Fixed = Fixed::new(
    "swiglu_limit",
    Is::Number(SWIGLU_LIMIT),
    ", since a GGUF file cannot say otherwise",
);

static LAYOUTS: &[Layout] = &[
    Layout {
        name: "Hugging Face",
        model_type: Some("gpt_oss"),
        layer: "model.layers.{l}.",
        fixed: &[
            LIMIT,
            Fixed::new("hidden_act", Is::Word("silu"), ""),
            Fixed::new("attention_bias", Is::Flag(true), ""),
            Fixed::new("tie_word_embeddings", Is::Flag(false), ""),
            Fixed::new("is_causal", Is::Flag(true), ""),
            Fixed::new("n_group", Is::AtMost(1), ", experts without groups"),
            Fixed::new("quantization_config.quant_method", Is::Word("mxfp4"), ""),
            Fixed::new("partial_rotary_factor", Is::Number(1.0), ""),
            // What transformers obeys and a GGUF file of gpt-oss cannot say.
            Fixed::new("rope_scaling.full_attention", Is::Absent, FOR_ALL_LAYERS),
            Fixed::new("rope_scaling.sliding_attention", Is::Absent, FOR_ALL_LAYERS),
            Fixed::new("rope_scaling.rope_type", Is::Word("yarn"), ""),
            Fixed::new("rope_scaling.truncate", Is::Flag(false), ""),
            Fixed::new("rope_scaling.extrapolation_factor", Is::Number(1.0), NOT_OBEYED),
            Fixed::new("rope_scaling.partial_rotary_factor", Is::Number(1.0), NOT_OBEYED),
        ],
        prepare: |json| {
            // Where transformers 5 keeps them.
            if let Some(parameters) = json.remove("rope_parameters") {
                json.insert("rope_scaling".into(), parameters);
            }
            let rope = json.entry("rope_scaling").or_insert_with(
                || json!({"rope_type": "yarn", "factor": 32, "original_max_position_embeddings": 4096}),
            );
            let Value::Object(rope) = rope else {
                return Err(ConfigError::value("rope_scaling", "YaRN's parameters", rope));
            };
            // An older name of it; a file may carry both.
            let older = rope.get("type").cloned();
            rope.entry("rope_type").or_insert(older.unwrap_or_else(|| "none".into()));
            Ok(())
        },
        finish: |json, hyper| {
            hyper.rope_scaling = RopeScaling::Yarn;
            rope_as_in_llama_cpp(json, hyper)?;
            layers_alternate(json, hyper)?;
            match get(json, "experts_per_token").and_then(Value::as_u64) {
                Some(older) if older != hyper.experts_used as u64 => {
                    let expected = format!("{}, as num_experts_per_tok says", hyper.experts_used);
                    Err(ConfigError::value("experts_per_token", expected, older))
                }
                _ => Ok(()),
            }
        },
    },
    // That of the directory `original/`.
    Layout {
        name: "original",
        model_type: None,
        layer: "block.{l}.",
        fixed: &[LIMIT],
        prepare: |_| Ok(()),
        finish: |_, hyper| {
            hyper.rope_scaling = RopeScaling::Yarn;
            Ok(())
        },
    },
];

const FOR_ALL_LAYERS: &str = ", but the same for all layers";
const NOT_OBEYED: &str = ", since llama.cpp obeys no other for gpt-oss";

/// Refuses factors on cosines and sines other than those that llama.cpp takes.
fn rope_as_in_llama_cpp(json: &Json, hyper: &Hyper) -> Result<(), ConfigError> {
    let factor = hyper.rope_factor;
    let implied = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
    // What is no number is no number that is taken.
    let number = |name: &str| get(json, name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    for key in ["rope_scaling.attention_factor", "rope_scaling.attn_factor"] {
        let fits = |found: &f64| (found - f64::from(implied)).abs() <= 1e-4;
        if let Some(found) = number(key).filter(|found| !fits(found)) {
            return Err(ConfigError::value(key, format!("{implied}{NOT_OBEYED}"), found));
        }
    }
    let some = |name: &str| number(name).filter(|n| *n != 0.0);
    if let (Some(mscale), Some(all)) =
        (some("rope_scaling.mscale"), some("rope_scaling.mscale_all_dim"))
    {
        let found = format!("mscale {mscale} and mscale_all_dim {all}");
        let expected = "no mscale, which llama.cpp does not read";
        return Err(ConfigError::value("rope_scaling", expected, found));
    }
    Ok(())
}

/// Refuses layers that slide otherwise than a GGUF file without a pattern says.
fn layers_alternate(json: &Json, hyper: &Hyper) -> Result<(), ConfigError> {
    let Some(types) = get(json, "layer_types").and_then(Value::as_array) else { return Ok(()) };
    if types.len() != hyper.layers {
        return Err(ConfigError::value("layer_types", hyper.layers, types.len()));
    }
    for (layer, (found, slides)) in types.iter().zip(&hyper.sliding).enumerate() {
        let expected = if *slides { "sliding_attention" } else { "full_attention" };
        if found.as_str() != Some(expected) {
            let (expected, found) =
                (format!("{expected} in layer {layer}"), format!("{found} in layer {layer}"));
            return Err(ConfigError::value("layer_types", expected, found));
        }
    }
    Ok(())
}

/// Query, key and value of the original layout, which are one tensor.
const QKV: &[Dim] = &[Queries, Keys, Keys];

static HUGGING_FACE: ExpertNames = ExpertNames {
    blocks: "_blocks",
    scales: "_scales",
    plain: "",
    transposed: true,
    bias: "_bias",
};

static ORIGINAL: ExpertNames = ExpertNames {
    blocks: "_weight.blocks",
    scales: "_weight.scales",
    plain: "_weight",
    transposed: false,
    bias: "_bias",
};

/// Gates and ups are rows of one tensor in turn.
const fn gate_up(first: usize) -> [Make; 2] {
    [
        Make::Experts("mlp.experts.gate_up_proj", &HUGGING_FACE, first, 2),
        Make::Experts("mlp.mlp1", &ORIGINAL, first, 2),
    ]
}

#[rustfmt::skip]
static ROWS: &[Row] = &[
    Row::new(Part::TokenEmbedding, &[Vocab, Hidden], &[Same("model.embed_tokens.weight"), Same("embedding.weight")]),
    Row::new(Part::Output, &[Vocab, Hidden], &[Same("lm_head.weight"), Same("unembedding.weight")]),
    Row::new(Part::OutputNorm, &[Hidden], &[Same("model.norm.weight"), Same("norm.scale")]),
    Row::new(Part::AttentionNorm, &[Hidden], &[Same("input_layernorm.weight"), Same("attn.norm.scale")]),
    Row::new(Part::Query, &[Queries, Hidden], &[Linear("self_attn.q_proj"), Cut("attn.qkv", &[], QKV)]).biased(),
    Row::new(Part::Key, &[Keys, Hidden], &[Linear("self_attn.k_proj"), Cut("attn.qkv", &[Queries], QKV)]).biased(),
    Row::new(Part::Value, &[Keys, Hidden], &[Linear("self_attn.v_proj"), Cut("attn.qkv", &[Queries, Keys], QKV)]).biased(),
    Row::new(Part::AttentionOutput, &[Hidden, Queries], &[Linear("self_attn.o_proj"), Linear("attn.out")]).biased(),
    Row::new(Part::Sinks, &[Heads], &[Same("self_attn.sinks"), Same("attn.sinks")]),
    Row::new(Part::FeedForwardNorm, &[Hidden], &[Same("post_attention_layernorm.weight"), Same("mlp.norm.scale")])
        .called("post_attention_norm"),
    Row::new(Part::Router, &[Experts, Hidden], &[Linear("mlp.router"), Linear("mlp.gate")]).biased(),
    Row::new(Part::ExpertGate, &[Experts, Width, Hidden], &gate_up(0)).biased(),
    Row::new(Part::ExpertUp, &[Experts, Width, Hidden], &gate_up(1)).biased(),
    Row::new(Part::ExpertDown, &[Experts, Hidden, Width], &[
        Make::Experts("mlp.experts.down_proj", &HUGGING_FACE, 0, 1),
        Make::Experts("mlp.mlp2", &ORIGINAL, 0, 1),
    ]).biased(),
];
