//! What a generated token reads of the nano model, against a computation by hand.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::Nano;
use qrun::gguf::{File, TensorSource};
use qrun::model::{DecodeTraffic, KvCacheType, decode_traffic};
use qrun::steps::NativeMxfp4;

// The nano: 4 layers of width 192, 4 query heads and 2 key/value heads of 64, 4 of 12 experts of
// width 192, 2048 tokens, a window of 128 in every other layer.
const NORMS: u64 = 2 * 192 * 4;
const SINKS: u64 = 4 * 4;
const ROUTER: u64 = (192 + 1) * 12 * 4;
const ATTENTION_WEIGHTS: u64 = 192 * (256 + 128 + 128) + 256 * 192;
const ATTENTION_BIASES: u64 = (256 + 128 + 128 + 192) * 4;
const EXPERT_WEIGHTS: u64 = 4 * 3 * 192 * 192;
const EXPERT_BIASES: u64 = 4 * 3 * 192 * 4;
/// Keys and values in half precision of one token in one layer.
const KEY_AND_VALUE: u64 = 2 * 2 * 64 * 2;

#[test]
fn a_token_of_the_f32_file_reads_the_experts_it_uses_and_one_row_of_the_embedding() {
    let file = File::open(Nano::new().f32()).unwrap();
    // Experts in MXFP4: 17 bytes for 32 weights.
    let layer = NORMS
        + SINKS
        + ROUTER
        + ATTENTION_WEIGHTS * 4
        + ATTENTION_BIASES
        + EXPERT_WEIGHTS / 32 * 17
        + EXPERT_BIASES;
    let weights = 4 * layer + 192 * 4 + 192 * 4 + 2048 * 192 * 4;
    // Positions 200, 201 and 202 see 201, 202 and 203 keys, or the window's 128.
    let kv_cache = (2 * 128 + 2 * 202) * KEY_AND_VALUE;
    let traffic = |kind| decode_traffic(&file, 200..203, kind).unwrap();
    let found = traffic(KvCacheType::F16);
    assert_eq!(found, DecodeTraffic { weights, kv_cache });
    assert_eq!(found.total(), weights + kv_cache);
    let f32 = DecodeTraffic { weights, kv_cache: 2 * kv_cache };
    assert_eq!(traffic(KvCacheType::F32), f32);
    let q8_0 = DecodeTraffic { weights, kv_cache: kv_cache / 64 * 34 };
    assert_eq!(traffic(KvCacheType::Q8_0), q8_0);
    let all: u64 = file.tensors().iter().map(|t| t.bytes()).sum();
    assert!(weights < all);
}

#[test]
fn a_token_of_a_quantized_file_reads_blocks() {
    let file = File::open(Nano::new().quantized("q8_0", NativeMxfp4::Requantize)).unwrap();
    // 34 bytes for 32 weights.
    let layer = NORMS
        + SINKS
        + ROUTER
        + (ATTENTION_WEIGHTS + EXPERT_WEIGHTS) / 32 * 34
        + ATTENTION_BIASES
        + EXPERT_BIASES;
    let weights = 4 * layer + 192 * 4 + 192 / 32 * 34 + 2048 * 192 / 32 * 34;
    // The first token sees itself only; four layers.
    let expected = DecodeTraffic { weights, kv_cache: 4 * KEY_AND_VALUE };
    assert_eq!(decode_traffic(&file, 0..1, KvCacheType::F16).unwrap(), expected);
}
