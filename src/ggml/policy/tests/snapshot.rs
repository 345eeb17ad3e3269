//! llama.cpp's own snapshot of its choices for gpt-oss-120b, whose header gives the model and whose
//! sections give, by format, the base type and each tensor that gets another.

use std::collections::BTreeMap;

use super::*;

const SNAPSHOT: &str = include_str!("../../../../tests/fixtures/oracle/gpt-oss-120b.schema");

/// A number that the header names, as `n_layer=36`.
fn header(name: &str) -> usize {
    let line = SNAPSHOT.lines().find(|l| l.starts_with("# n_embd=")).unwrap();
    let (_, value) = line[2..]
        .split(", ")
        .map(|pair| pair.split_once('=').unwrap())
        .find(|(key, _)| *key == name)
        .unwrap();
    value.parse().unwrap()
}

/// Names and shapes of the weights of a gpt-oss, in no special order.
fn weights() -> Vec<(String, Vec<u64>)> {
    const HEAD: u64 = 64;
    let number = |name| header(name) as u64;
    let (hidden, ffn, experts) = (number("n_embd"), number("n_ff"), number("n_expert"));
    let (q, kv) = (number("n_head") * HEAD, number("n_head_kv") * HEAD);
    let mut weights = vec![
        ("token_embd.weight".to_owned(), vec![hidden, 201_088]),
        ("output.weight".to_owned(), vec![hidden, 201_088]),
        ("output_norm.weight".to_owned(), vec![hidden]),
    ];
    for layer in 0..header("n_layer") {
        for (part, shape) in [
            ("attn_norm.weight", vec![hidden]),
            ("attn_q.weight", vec![hidden, q]),
            ("attn_q.bias", vec![q]),
            ("attn_k.weight", vec![hidden, kv]),
            ("attn_v.weight", vec![hidden, kv]),
            ("attn_output.weight", vec![q, hidden]),
            ("attn_sinks.weight", vec![number("n_head")]),
            ("ffn_gate_inp.weight", vec![hidden, experts]),
            ("ffn_gate_exps.weight", vec![hidden, ffn, experts]),
            ("ffn_gate_exps.bias", vec![ffn, experts]),
            ("ffn_up_exps.weight", vec![hidden, ffn, experts]),
            ("ffn_down_exps.weight", vec![ffn, hidden, experts]),
        ] {
            weights.push((format!("blk.{layer}.{part}"), shape));
        }
    }
    weights
}

#[test]
fn gpt_oss_120b_gets_the_types_of_llama_cpps_own_snapshot() {
    let weights = weights();
    let tensors: Vec<Tensor> =
        weights.iter().map(|(name, shape)| Tensor { name, ty: GgmlType::F32, shape }).collect();
    let model = Model {
        layers: header("n_layer"),
        experts: header("n_expert"),
        heads: header("n_head"),
        kv_heads: header("n_head_kv"),
    };
    let mut formats = 0;
    for section in SNAPSHOT.split("\n[").skip(1) {
        let mut lines = section.lines().filter(|line| !line.is_empty());
        let (name, base) = lines.next().unwrap().split_once("] ").unwrap();
        let mix: Mix = name.parse().unwrap();
        assert_eq!(mix.base().name(), base, "{mix}");
        let mut others: BTreeMap<&str, &str> =
            lines.map(|line| line.split_once(' ').unwrap()).collect();
        let choices = Policy::of(mix).choose(&model, &tensors).unwrap();
        for (tensor, choice) in tensors.iter().zip(choices) {
            let why = choice.why(&[]);
            if matches!(choice.reason, Reason::Never(_)) {
                assert_eq!(others.get(tensor.name), None, "{mix}, {}: {why}", tensor.name);
                continue;
            }
            let expected = others.remove(tensor.name).unwrap_or(base);
            assert_eq!(choice.ty.name(), expected, "{mix}, {}: {why}", tensor.name);
        }
        assert!(others.is_empty(), "{mix}: of no tensor here: {others:?}");
        formats += 1;
    }
    assert_eq!(formats, Mix::ALL.len());
}
