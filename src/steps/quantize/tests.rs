//! What quantize chooses for models of which there is nothing but names, columns and metadata.

use std::collections::BTreeMap;
use std::ops::Range;

use super::*;
use crate::ggml::{GgmlType, Mix};
use crate::gguf::{Array, Metadata, SourceError, TensorInfo, Value};
use crate::steps::{FormatSpec, NativeMxfp4, OnFallback, QuantizeSource};

/// A model without weights.
struct Hollow {
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
}

impl TensorSource for Hollow {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read_rows(&self, t: usize, _: Range<usize>, _: &mut [u8]) -> Result<(), SourceError> {
        let tensor = self.tensors[t].name.to_string();
        Err(SourceError { tensor, reason: "there are no weights".into() })
    }

    fn bytes(&self, _: usize) -> Option<&[u8]> {
        None
    }
}

/// What one file of `tests/fixtures/oracle/types` says.
struct Expected {
    model: Hollow,
    /// By format: the type of those tensors that have another than the format's own, which is first.
    formats: Vec<(Mix, String, BTreeMap<String, String>)>,
}

impl Expected {
    fn read(text: &str) -> Self {
        let mut sections = text.split("\n[");
        let header = sections.next().unwrap();
        let body = |section: &str| {
            let lines = section.lines().skip(1).filter(|line| !line.is_empty());
            lines.flat_map(layers).collect::<Vec<_>>()
        };
        let tensors = body(sections.next().unwrap()).into_iter().map(|(name, size)| {
            let mut sizes = size.split(" x ").map(|n| n.parse::<u64>().unwrap());
            let (columns, matrices) = (sizes.next().unwrap(), sizes.next().unwrap_or(1));
            TensorInfo::new(name, GgmlType::F32, [columns, 4, matrices])
        });
        let model = Hollow { metadata: metadata(header), tensors: tensors.collect() };
        let formats = sections.map(|section| {
            let (format, base) = section.lines().next().unwrap().split_once("] ").unwrap();
            (format.parse().unwrap(), base.to_owned(), body(section).into_iter().collect())
        });
        Self { formats: formats.collect(), model }
    }
}

/// `blk.[0-2,5].REST VALUE` as four names with their value.
fn layers(line: &str) -> Vec<(String, String)> {
    let (name, value) = line.split_once(' ').unwrap();
    let Some((layers, rest)) = name.strip_prefix("blk.[").and_then(|n| n.split_once(']')) else {
        return vec![(name.to_owned(), value.to_owned())];
    };
    let ranges = layers.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    });
    ranges.map(|layer| (format!("blk.{layer}{rest}"), value.to_owned())).collect()
}

/// The metadata of a header of lines of a key and a number, or one for each layer.
fn metadata(header: &str) -> Metadata {
    let lines = || header.lines().skip(1).map(|line| line.split_once(' ').unwrap());
    let architecture = lines().find(|(key, _)| *key == "architecture").unwrap().1;
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", Value::String(architecture.into()));
    for (key, value) in lines() {
        let key = match key {
            "architecture" => continue,
            "layers" => "block_count",
            "predicting_layers" => "nextn_predict_layers",
            "experts" => "expert_count",
            "heads" => "attention.head_count",
            "kv_heads" => "attention.head_count_kv",
            other => panic!("{other}"),
        };
        let numbers: Vec<u32> = value.split(' ').map(|n| n.parse().unwrap()).collect();
        let value = match numbers[..] {
            [number] => Value::U32(number),
            _ => Value::Array(Array::U32(numbers)),
        };
        metadata.set(format!("{architecture}.{key}"), value);
    }
    metadata
}

fn spec(mix: Mix) -> QuantizeSpec {
    let name = mix.name().to_owned();
    QuantizeSpec {
        source: QuantizeSource::Gguf("no such file".into()),
        format: FormatSpec { name: name.clone().into(), base: name, ..FormatSpec::default() },
        native_mxfp4: NativeMxfp4::Keep,
        fallback: OnFallback::Warn,
        provenance: None,
        out: "no such file either".into(),
        split: None,
        hash_tensors: false,
    }
}

#[test]
fn every_architecture_gets_the_types_that_llama_cpp_gives_it() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle/types");
    let mut models = 0;
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let Expected { model, formats } = Expected::read(&std::fs::read_to_string(&path).unwrap());
        let name = path.file_stem().unwrap().to_string_lossy();
        assert_eq!(formats.len(), Mix::ALL.len(), "{name}");
        for (mix, base, mut others) in formats {
            assert_eq!(mix.base().name(), base, "{mix}");
            let plan = plan_source(&model, &spec(mix)).unwrap();
            for tensor in &plan.tensors {
                let expected = others.remove(&tensor.name).unwrap_or_else(|| base.clone());
                let (ty, why) = (tensor.ggml_type.name(), &tensor.why);
                assert_eq!(ty, expected, "{name} as {mix}: {} ({why})", tensor.name);
            }
            assert!(others.is_empty(), "{name} as {mix}: of no tensor here: {others:?}");
        }
        models += 1;
    }
    assert_eq!(models, 25);
}
