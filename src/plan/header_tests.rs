//! What a plan reads to know how large files will be.

use std::fs::{self, File};
use std::io::Write;

use camino::Utf8Path;
use serde_json::Value;

use super::*;
use crate::plan::testing::{Workspace, machine};
use crate::steps::{TokenizerSource, open_source};
use crate::tokenizer::MADE;

/// Tokens of gpt-oss, whose vocabulary is built in.
const VOCAB: usize = 201_088;

/// The nano's checkpoint with as many tokens, and with holes in place of its weights.
fn write_checkpoint(directory: &Utf8Path) {
    let nano =
        Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt-oss-nano/original");
    let read = |name: &str| fs::read(nano.join(name)).unwrap();
    let mut config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    config["vocab_size"] = VOCAB.into();
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    fs::write(directory.join("dtypes.json"), read("dtypes.json")).unwrap();

    let weights = read("model.safetensors");
    let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Map<String, Value> =
        serde_json::from_slice(&weights[8..8 + length]).unwrap();
    let mut end = 0;
    for (name, info) in &mut header {
        if name == "__metadata__" {
            continue;
        }
        if name.ends_with("embedding.weight") {
            info["shape"][0] = VOCAB.into();
        }
        let elements: u64 =
            info["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product();
        let bytes = elements * if info["dtype"] == "U8" { 1 } else { 2 };
        info["data_offsets"] = [end, end + bytes].into();
        end += bytes;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = File::create(directory.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(8 + header.len() as u64 + end).unwrap();
}

#[test]
fn a_plan_makes_no_vocabulary_and_knows_the_size_of_its_files() {
    let workspace = Workspace::new();
    write_checkpoint(&workspace.path.join("checkpoint"));
    let mut job = workspace.job();
    job.input.tokenizer = TokenizerSource::O200kHarmony;
    let before = MADE.get();
    let mut plan = Plan::new(job, None, machine()).unwrap();
    let judgements = plan.judge_all().unwrap();
    let measured = plan.read_headers(&judgements, |_| true).unwrap();
    assert_eq!(MADE.get(), before);
    // Converted, two formats and the reference that is made.
    assert_eq!(measured.files.len(), 4, "{measured:?}");

    let whole = open_source(&checkpoint_source(&plan.job)).unwrap();
    assert_eq!(MADE.get(), before + 1);
    for (&step, file) in &measured.files {
        let expected = plan.graph.node(step).draft.planned_model(&*whole).unwrap().unwrap();
        assert_eq!((file.bytes, &file.warnings), (expected.bytes, &expected.warnings));
        assert!(file.bytes > 10_000_000, "{file:?}");
        assert!(file.cost.is_some() && file.cost == expected.cost, "{file:?}");
    }
}
