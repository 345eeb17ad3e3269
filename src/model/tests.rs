//! Decoders of other parts than the published models' against a forward pass written down as it is
//! defined: one number after the other, in double precision.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::arch::Dim::{self, HeadDim, Hidden, Keys, Queries, Vocab, Width};
use crate::arch::{Decoder, Key, Layer, Pairing, Part, Rope, Row};
use crate::compute::Activation;
use crate::ggml::GgmlType;
use crate::gguf::{Array, Metadata, SourceError, TensorInfo, Value};

/// The keys of both, and more.
macro_rules! keys {
    ($($more:expr),*) => {
        &[
            Key::count("block_count", 8, |h| &mut h.layers),
            Key::count("context_length", 1000, |h| &mut h.context),
            Key::count("embedding_length", 1000, |h| &mut h.hidden),
            Key::count("attention.head_count", 8, |h| &mut h.heads),
            Key::count("attention.head_count_kv", 8, |h| &mut h.kv_heads),
            Key::count("attention.key_length", 64, |h| &mut h.head_dim),
            Key::count("feed_forward_length", 1000, |h| &mut h.width),
            Key::real("attention.layer_norm_rms_epsilon", |h| &mut h.rms_eps).or(|_| 1e-5),
            Key::real("rope.freq_base", |h| &mut h.rope_theta).or(|_| 10_000.0),
            $($more,)*
        ]
    };
}

/// Without biases, sinks and experts; with norms of heads, and an output that may be missing.
static DENSE: Architecture = Architecture {
    name: "dense",
    keys: keys!(),
    fixed: &[],
    layouts: &[],
    vocabularies: &[],
    rows: &[
        row(Part::TokenEmbedding, &[Vocab, Hidden]),
        row(Part::Output, &[Vocab, Hidden]).optional(),
        row(Part::OutputNorm, &[Hidden]),
        row(Part::AttentionNorm, &[Hidden]),
        row(Part::Query, &[Queries, Hidden]),
        row(Part::QueryNorm, &[HeadDim]),
        row(Part::Key, &[Keys, Hidden]),
        row(Part::KeyNorm, &[HeadDim]),
        row(Part::Value, &[Keys, Hidden]),
        row(Part::AttentionOutput, &[Hidden, Queries]),
        row(Part::FeedForwardNorm, &[Hidden]),
        row(Part::Gate, &[Width, Hidden]),
        row(Part::Up, &[Width, Hidden]),
        row(Part::Down, &[Hidden, Width]),
    ],
    decoder: |hyper| Decoder::usual(hyper, Activation::Silu, Pairing::Neighbours),
};

/// With experts without biases, with biases of queries, keys and values alone, scores scaled in a way
/// of its own, and layers that differ in what they see and in their positions.
static MIXED: Architecture = Architecture {
    name: "mixed",
    keys: keys!(
        Key::count("expert_count", 8, |h| &mut h.experts),
        Key::count("expert_used_count", 8, |h| &mut h.experts_used)
    ),
    fixed: &[],
    layouts: &[],
    vocabularies: &[],
    rows: &[
        row(Part::TokenEmbedding, &[Vocab, Hidden]),
        row(Part::Output, &[Vocab, Hidden]),
        row(Part::OutputNorm, &[Hidden]),
        row(Part::AttentionNorm, &[Hidden]),
        row(Part::Query, &[Queries, Hidden]).biased(),
        row(Part::Key, &[Keys, Hidden]).biased(),
        row(Part::Value, &[Keys, Hidden]).biased(),
        row(Part::AttentionOutput, &[Hidden, Queries]),
        row(Part::FeedForwardNorm, &[Hidden]).called("norm_of_its_own"),
        row(Part::Router, &[Dim::Experts, Hidden]),
        row(Part::ExpertGate, &[Dim::Experts, Width, Hidden]),
        row(Part::ExpertUp, &[Dim::Experts, Width, Hidden]),
        row(Part::ExpertDown, &[Dim::Experts, Hidden, Width]),
    ],
    decoder: |hyper| {
        let usual = Decoder::usual(hyper, Activation::Silu, Pairing::Halves);
        let [rope] = usual.ropes[..] else { panic!("{:?}", usual.ropes) };
        let ropes = vec![rope, Rope { base: 50.0, ..rope }];
        let layers = vec![Layer { window: Some(5), rope: 1 }, Layer { window: None, rope: 0 }];
        Decoder { ropes, layers, attention_scale: 0.5, ..usual }
    },
};

const fn row(part: Part, shape: &'static [Dim]) -> Row {
    Row::new(part, shape, &[])
}

/// Two layers of random weights.
struct Made {
    metadata: Metadata,
    infos: Vec<TensorInfo>,
    tensors: HashMap<String, Vec<f32>>,
}

impl Made {
    fn new(architecture: &Architecture, experts: u32, leave_out: &str) -> Self {
        let mut metadata = Metadata::default();
        for (key, value) in [
            ("block_count", 2),
            ("context_length", 100),
            ("embedding_length", 32),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("attention.key_length", 16),
            ("feed_forward_length", 24),
            ("expert_count", experts),
            ("expert_used_count", experts / 2),
        ] {
            if value > 0 {
                metadata.set(format!("{}.{key}", architecture.name), Value::U32(value));
            }
        }
        let tokens = (0..11).map(|token| token.to_string()).collect();
        metadata.set("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
        let hyper = architecture.from_metadata(&metadata).unwrap();
        let mut made = Self { metadata, infos: Vec::new(), tensors: HashMap::new() };
        let mut seed = 1u32;
        for row in architecture.rows {
            for (&kind, layer) in
                row.kinds().iter().flat_map(|k| row.layers(&hyper).map(move |l| (k, l)))
            {
                let (name, shape) = (row.name(kind, layer), row.shape(kind, &hyper));
                if name == leave_out {
                    continue;
                }
                let norm = if name.contains("norm") { 1.0 } else { 0.0 };
                let values = (0..shape.iter().product::<u64>()).map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    norm + (seed >> 8) as f32 / (1 << 24) as f32 * 0.8 - 0.4
                });
                made.tensors.insert(name.clone(), values.collect());
                made.infos.push(TensorInfo::new(name, GgmlType::F32, shape));
            }
        }
        made
    }
}

impl TensorSource for Made {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.infos
    }

    fn read_rows(&self, tensor: usize, _: Range<usize>, out: &mut [u8]) -> Result<(), SourceError> {
        let values = &self.tensors[&*self.infos[tensor].name];
        out.copy_from_slice(bytemuck::cast_slice(values));
        Ok(())
    }

    fn bytes(&self, _: usize) -> Option<&[u8]> {
        None
    }
}

/// The definitions.
struct Naive<'a> {
    decoder: &'a Decoder,
    tensors: &'a HashMap<String, Vec<f32>>,
}

impl Naive<'_> {
    fn get(&self, name: &str) -> Option<Vec<f64>> {
        Some(self.tensors.get(name)?.iter().map(|&x| x.into()).collect())
    }

    /// Matrix number `expert` of `name`, with its bias if it has one.
    fn linear(&self, name: &str, expert: usize, rows: usize, x: &[f64]) -> Vec<f64> {
        let weight = self.get(&format!("{name}.weight")).unwrap();
        let matrix = &weight[expert * rows * x.len()..][..rows * x.len()];
        let bias = self.get(&format!("{name}.bias")).unwrap_or(vec![0.0; rows]);
        let dot = |row: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
        matrix.chunks(x.len()).zip(bias).map(|(row, bias)| dot(row) + bias).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let Some(weight) = self.get(&format!("{name}.weight")) else { return x.to_vec() };
        let square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let root = (square + f64::from(self.decoder.rms_eps)).sqrt();
        x.iter().zip(weight).map(|(x, w)| x / root * w).collect()
    }

    fn rotate(&self, head: &mut [f64], position: usize, layer: usize) {
        let rope = self.decoder.ropes[self.decoder.layers[layer].rope];
        let pairs = head.len() / 2;
        for i in 0..pairs {
            let (a, b) = match rope.pairing {
                Pairing::Halves => (i, i + pairs),
                Pairing::Neighbours => (2 * i, 2 * i + 1),
            };
            let angle = position as f64 * f64::from(rope.base).powf(-(i as f64) / pairs as f64);
            let (sin, cos) = angle.sin_cos();
            (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[b] * cos + head[a] * sin);
        }
    }

    /// Heads of a projection, normed and rotated.
    fn heads(&self, part: &str, layer: usize, position: usize, x: &[f64]) -> Vec<Vec<f64>> {
        let dim = self.decoder.head_dim;
        let count = if part == "q" { self.decoder.heads } else { self.decoder.kv_heads };
        let all = self.linear(&format!("blk.{layer}.attn_{part}"), 0, count * dim, x);
        let head = |head: &[f64]| {
            let mut head = self.norm(&format!("blk.{layer}.attn_{part}_norm"), head);
            if part != "v" {
                self.rotate(&mut head, position, layer);
            }
            head
        };
        all.chunks(dim).map(head).collect()
    }

    fn attention(&self, layer: usize, normed: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let all = |part: &str| -> Vec<_> {
            let heads = |(p, x): (usize, &Vec<f64>)| self.heads(part, layer, p, x);
            normed.iter().enumerate().map(heads).collect()
        };
        let (queries, keys, values) = (all("q"), all("k"), all("v"));
        let Decoder { hidden, heads, kv_heads, .. } = *self.decoder;
        let token = |position: usize| {
            let window = self.decoder.layers[layer].window.unwrap_or(usize::MAX);
            let seen = (position + 1).saturating_sub(window)..position + 1;
            let mut out = Vec::new();
            for (head, query) in queries[position].iter().enumerate() {
                let kv = head / (heads / kv_heads);
                let score = |p: usize| {
                    let dot: f64 = query.iter().zip(&keys[p][kv]).map(|(a, b)| a * b).sum();
                    (dot * f64::from(self.decoder.attention_scale)).exp()
                };
                let weights: Vec<f64> = seen.clone().map(score).collect();
                let sum: f64 = weights.iter().sum();
                out.extend((0..query.len()).map(|i| {
                    let value = |(w, p): (&f64, usize)| w / sum * values[p][kv][i];
                    weights.iter().zip(seen.clone()).map(value).sum::<f64>()
                }));
            }
            self.linear(&format!("blk.{layer}.attn_output"), 0, hidden, &out)
        };
        (0..normed.len()).map(token).collect()
    }

    fn feed_forward(&self, layer: usize, stem: &str, expert: usize, x: &[f64]) -> Vec<f64> {
        let name = |part: &str| format!("blk.{layer}.ffn_{part}{stem}");
        let gate = self.linear(&name("gate"), expert, self.decoder.width, x);
        let up = self.linear(&name("up"), expert, self.decoder.width, x);
        let inner: Vec<f64> =
            gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
        self.linear(&name("down"), expert, x.len(), &inner)
    }

    fn experts(&self, layer: usize, x: &[f64]) -> Vec<f64> {
        let Some(experts) = self.decoder.experts else { return self.feed_forward(layer, "", 0, x) };
        let logits = self.linear(&format!("blk.{layer}.ffn_gate_inp"), 0, experts.count, x);
        let mut order: Vec<usize> = (0..experts.count).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        order.truncate(experts.used);
        let sum: f64 = order.iter().map(|e| logits[*e].exp()).sum();
        let mut out = vec![0.0; x.len()];
        for expert in order {
            let weight = logits[expert].exp() / sum;
            for (o, e) in out.iter_mut().zip(self.feed_forward(layer, "_exps", expert, x)) {
                *o += weight * e;
            }
        }
        out
    }

    fn logits(&self, tokens: &[u32]) -> Vec<f64> {
        let Decoder { hidden, vocab, .. } = *self.decoder;
        let embedding = self.get("token_embd.weight").unwrap();
        let row = |t: &u32| embedding[*t as usize * hidden..][..hidden].to_vec();
        let mut stream: Vec<Vec<f64>> = tokens.iter().map(row).collect();
        let add = |stream: &mut [Vec<f64>], what: Vec<Vec<f64>>| {
            stream.iter_mut().flatten().zip(what.into_iter().flatten()).for_each(|(s, w)| *s += w);
        };
        for layer in 0..self.decoder.layers.len() {
            let norm = |name: &str, stream: &[Vec<f64>]| -> Vec<Vec<f64>> {
                stream.iter().map(|x| self.norm(&format!("blk.{layer}.{name}"), x)).collect()
            };
            let normed = norm("attn_norm", &stream);
            add(&mut stream, self.attention(layer, &normed));
            let dense = self.decoder.experts.is_none();
            let normed = norm(if dense { "ffn_norm" } else { "norm_of_its_own" }, &stream);
            add(&mut stream, normed.iter().map(|x| self.experts(layer, x)).collect());
        }
        let has_output = self.tensors.contains_key("output.weight");
        let output = if has_output { "output" } else { "token_embd" };
        let logits = |x: &Vec<f64>| self.linear(output, 0, vocab, &self.norm("output_norm", x));
        stream.iter().flat_map(logits).collect()
    }
}

/// The logits of a made model, and that they are those of the definitions.
fn check(architecture: &'static Architecture, experts: u32, leave_out: &str) -> Vec<f32> {
    let made = Arc::new(Made::new(architecture, experts, leave_out));
    let tokens: Vec<u32> = (0..20).map(|i| i * 7 % 11).collect();
    let options = ModelOptions { threads: 2, exact: true, kv_cache: None };
    let model = Model::of(architecture, made.clone(), &options).unwrap();
    let mut session = model.session(tokens.len()).unwrap();
    session.forward(&tokens[..13], LogitsFor::All).unwrap();
    let mut found = session.take_logits();
    found.extend(session.forward(&tokens[13..], LogitsFor::All).unwrap());
    let naive = Naive { decoder: model.network.decoder(), tensors: &made.tensors };
    let expected = naive.logits(&tokens);
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{at}: {found}, {expected}");
    }
    found
}

#[test]
fn a_dense_decoder_is_as_defined_with_an_output_and_without() {
    let separate = check(&DENSE, 0, "");
    let tied = check(&DENSE, 0, "output.weight");
    assert_ne!(separate, tied);
}

#[test]
fn experts_without_biases_are_as_defined() {
    check(&MIXED, 6, "");
}

#[test]
fn a_part_that_no_model_may_be_without_is_missed() {
    let made = Made::new(&DENSE, 0, "blk.1.ffn_up.weight");
    let options = ModelOptions { threads: 1, exact: true, kv_cache: None };
    let error = Model::of(&DENSE, Arc::new(made), &options).err().unwrap().to_string();
    assert_eq!(error, "tensor blk.1.ffn_up.weight is missing; expected it with shape [32, 24]");
}

/// Without an output of its own all of the embedding is read, and a tensor that nobody knows is an
/// error.
#[test]
fn traffic_counts_what_is_read() {
    let traffic = |leave_out: &str| {
        let made = Made::new(&DENSE, 0, leave_out);
        traffic::of(&DENSE, &made, 0..1, KvCacheType::F32).map(|traffic| traffic.weights)
    };
    let matrix = 11 * 32 * 4;
    assert_eq!(traffic("").unwrap() - traffic("output.weight").unwrap(), 32 * 4);
    let all: u64 = Made::new(&DENSE, 0, "").infos.iter().map(TensorInfo::bytes).sum();
    assert_eq!(traffic("").unwrap(), all - matrix + 32 * 4);
    let mut made = Made::new(&DENSE, 0, "");
    made.infos[0].name = "blk.0.attn_qkv.weight".into();
    let error = traffic::of(&DENSE, &made, 0..1, KvCacheType::F32).unwrap_err().to_string();
    assert!(error.starts_with("tensor blk.0.attn_qkv.weight is not dense's"), "{error}");
}
