//! Converted and quantized files against llama.cpp's (`tests/fixtures/oracle`), every tensor by
//! its SHA-256, from a GGUF file and straight from the checkpoint.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use qrun::ggml::{GgmlType, Mix};
use qrun::gguf::{Array, File, Imatrix, TensorSource, Value};
use qrun::steps::{
    Context, ConvertDtype, ConvertSpec, Event, EventSink, FormatSpec, ImatrixFile, Label, Level,
    NativeMxfp4, OnFallback, Out, Provenance, QuantizeSource, QuantizeSpec, Step, StepError,
    TensorRule, TokenizerSource, WriteResult, convert, open_source, quantize,
};
use sha2::{Digest, Sha256};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn nano() -> Utf8PathBuf {
    Utf8Path::new(FIXTURES).join("gpt-oss-nano")
}

struct Quiet;

impl EventSink for Quiet {
    fn emit(&self, _: Event) {}
}

static RUNNING: AtomicBool = AtomicBool::new(false);

fn context() -> Context<'static> {
    Context::new(&Quiet, &RUNNING, 2)
}

struct Place {
    _guard: tempfile::TempDir,
    directory: Utf8PathBuf,
}

impl Place {
    fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let directory = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        Self { _guard: guard, directory }
    }

    fn convert(&self, dtype: ConvertDtype) -> Utf8PathBuf {
        let out = self.directory.join(format!("{dtype:?}.gguf"));
        let spec = ConvertSpec {
            checkpoint: nano().into(),
            tokenizer: TokenizerSource::Checkpoint,
            dtype,
            out: (&out).into(),
            split: None,
            hash_tensors: false,
        };
        let result = convert::run(&spec, &context()).unwrap();
        let source = open_source(&QuantizeSource::Checkpoint {
            directory: nano().into(),
            tokenizer: TokenizerSource::Checkpoint,
            dtype,
        });
        let measured = spec.planned_model(&*source.unwrap()).unwrap().unwrap();
        assert_eq!(measured.bytes, result.output.bytes);
        out
    }

    fn spec(
        &self,
        source: QuantizeSource,
        format: &str,
        native_mxfp4: NativeMxfp4,
    ) -> QuantizeSpec {
        QuantizeSpec {
            source,
            format: FormatSpec {
                name: format.into(),
                base: format.parse::<Mix>().unwrap().name().to_owned(),
                ..FormatSpec::default()
            },
            native_mxfp4,
            fallback: OnFallback::Warn,
            provenance: None,
            out: Out { path: self.directory.join("quantized.gguf"), replace: true },
            split: None,
            hash_tensors: false,
        }
    }
}

fn checkpoint() -> QuantizeSource {
    QuantizeSource::Checkpoint {
        directory: nano().into(),
        tokenizer: TokenizerSource::Checkpoint,
        dtype: ConvertDtype::F32,
    }
}

fn run(spec: &QuantizeSpec) -> Result<WriteResult, StepError> {
    let result = quantize::run(spec, &context())?;
    let plan = quantize::plan(spec)?;
    assert_eq!(plan.file_bytes, result.output.bytes);
    assert_eq!(plan.bits_per_weight, result.bits_per_weight);
    assert_eq!(result.output.bytes, fs::metadata(&spec.out).unwrap().len());
    Ok(result)
}

fn rule(pattern: &str, ty: &str) -> TensorRule {
    TensorRule { pattern: pattern.to_owned(), ggml_type: ty.parse().unwrap() }
}

/// Format to tensor to type and SHA-256.
type Oracle = BTreeMap<String, BTreeMap<String, (String, String)>>;

fn oracle(name: &str) -> Oracle {
    let text = fs::read_to_string(format!("{FIXTURES}/oracle/tensors.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(all[name].clone()).unwrap()
}

/// Holds every format against the oracle, from a GGUF file and from the checkpoint.
fn compare(native: NativeMxfp4, oracle: &Oracle) {
    let place = Place::new();
    let converted = place.convert(ConvertDtype::F32);
    for (format, expected) in oracle {
        let spec = place.spec(QuantizeSource::Gguf((&converted).into()), format, native);
        let from_gguf = is_as_expected(&spec, expected);
        let written = fs::read(&spec.out).unwrap();
        let from_checkpoint = run(&place.spec(checkpoint(), format, native)).unwrap();
        assert_eq!(from_checkpoint.output.sha256, from_gguf.output.sha256, "{format}");
        assert!(fs::read(&spec.out).unwrap() == written, "{format}");
    }
}

/// Runs `spec` and holds each tensor against `expected`; those left out there stay as they are.
fn is_as_expected(
    spec: &QuantizeSpec,
    expected: &BTreeMap<String, (String, String)>,
) -> WriteResult {
    let QuantizeSource::Gguf(source) = &spec.source else { panic!("expected a GGUF file") };
    let source = File::open(source).unwrap();
    let result = run(spec).unwrap();
    let written = File::open(&spec.out).unwrap();
    let format = &spec.format.base;
    let mut seen = 0;
    for (number, tensor) in result.tensors.iter().enumerate() {
        let sha256 = hex::encode(Sha256::digest(written.data(number)));
        let found = (tensor.ggml_type.name().to_uppercase(), sha256);
        match expected.get(&tensor.name) {
            Some(expected) => {
                assert_eq!(&found, expected, "{format}: {}", tensor.name);
                seen += 1;
            }
            None => {
                let before = &source.tensors()[source.find(&tensor.name).unwrap()];
                assert_eq!(tensor.ggml_type, before.ggml_type, "{format}: {}", tensor.name);
            }
        }
    }
    assert_eq!(seen, expected.len(), "{format}");
    result
}

/// llama-imatrix's matrix of the nano checkpoint, under the name that scripts/check_oracle.py gives.
fn imatrix() -> ImatrixFile {
    let path = Utf8Path::new(FIXTURES).join("oracle/nano.imatrix.gguf");
    ImatrixFile { path: path.into(), name: "nano.imatrix.gguf".to_owned() }
}

#[test]
fn formats_with_their_experts_kept_are_those_of_llama_cpp() {
    let oracle = oracle("quantize_keep_mxfp4");
    assert_eq!(oracle.len(), 25);
    compare(NativeMxfp4::Keep, &oracle);
}

#[test]
fn formats_with_requantized_experts_are_those_of_llama_cpp() {
    let oracle = oracle("quantize_requantized");
    assert_eq!(oracle.len(), 27);
    compare(NativeMxfp4::Requantize, &oracle);
}

#[test]
fn formats_weighed_by_an_importance_matrix_are_those_of_llama_cpp() {
    let oracle = oracle("quantize_imatrix_requantized");
    assert_eq!(oracle.len(), Mix::ALL.len() - 1, "all but f32");
    let place = Place::new();
    let converted = place.convert(ConvertDtype::F32);
    for (format, expected) in &oracle {
        let source = QuantizeSource::Gguf((&converted).into());
        let mut spec = place.spec(source, format, NativeMxfp4::Requantize);
        spec.format.imatrix = Some(imatrix());
        is_as_expected(&spec, expected);
    }
}

#[test]
fn the_older_format_of_a_matrix_gives_the_same_tensors() {
    let place = Place::new();
    let matrix = Imatrix::open(imatrix().path).unwrap();
    let mut older = (matrix.names().len() as i32).to_le_bytes().to_vec();
    for name in matrix.names() {
        let importance = matrix.get(name).unwrap();
        let mut values = Vec::new();
        importance.read(0, importance.len(), &mut values);
        older.extend((name.len() as i32).to_le_bytes());
        older.extend(name.as_bytes());
        older.extend(1i32.to_le_bytes());
        older.extend((values.len() as i32).to_le_bytes());
        older.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    let path = place.directory.join("imatrix.dat");
    fs::write(&path, older).unwrap();
    let weighed_by = |imatrix| {
        let mut spec = place.spec(checkpoint(), "q4_K_S", NativeMxfp4::Requantize);
        spec.format.imatrix = imatrix;
        let result = run(&spec).unwrap();
        let file = File::open(&spec.out).unwrap();
        let data = (0..file.tensors().len()).map(|i| file.data(i).to_vec());
        (result.tensors, data.collect::<Vec<_>>())
    };
    let new = weighed_by(Some(imatrix()));
    let older = ImatrixFile { path: path.into(), name: "imatrix.dat".to_owned() };
    assert!(weighed_by(Some(older)) == new);
    assert!(weighed_by(None) != new);
}

#[test]
fn the_file_says_which_matrix_weighed_it() {
    let place = Place::new();
    let mut spec = place.spec(checkpoint(), "q8_0", NativeMxfp4::Keep);
    let name = "ä".repeat(100);
    spec.format.imatrix = Some(ImatrixFile { name: name.clone(), ..imatrix() });
    run(&spec).unwrap();
    let file = File::open(&spec.out).unwrap();
    let found: Vec<_> =
        file.metadata().iter().skip_while(|(k, _)| *k != "general.file_type").collect();
    let text = |text: &str| Value::String(text.to_owned());
    let matrix = Imatrix::open(imatrix().path).unwrap();
    assert_eq!(
        found,
        [
            ("general.file_type", &Value::U32(7)),
            // llama-quantize keeps 127 bytes; half a letter is left out here.
            ("quantize.imatrix.file", &text(&name[..126])),
            ("quantize.imatrix.dataset", &text(&matrix.datasets()[0])),
            ("quantize.imatrix.entries_count", &Value::U32(32)),
            ("quantize.imatrix.chunks_count", &Value::U32(20)),
        ]
    );
}

#[test]
fn a_file_says_what_its_bytes_are_a_function_of_if_it_is_asked_to() {
    let place = Place::new();
    let mut spec = place.spec(checkpoint(), "q8_0", NativeMxfp4::Keep);
    spec.format.name = "mine".into();
    spec.format.tensors = vec![rule("attn_k", "q4_0")];
    spec.format.imatrix = Some(imatrix());
    let plain = run(&spec).unwrap();
    spec.provenance = Some(Provenance { made_from: checkpoint(), inputs: Label::default() });
    let told = run(&spec).unwrap();
    assert_eq!(told.tensors, plain.tensors);
    let file = File::open(&spec.out).unwrap();
    let metadata = file.metadata();
    let strings = |key: &str| match metadata.get(key) {
        Some(Value::Array(Array::String(list))) => list.clone(),
        other => panic!("{key}: {other:?}"),
    };
    let digest = |path: Utf8PathBuf| hex::encode(Sha256::digest(fs::read(path).unwrap()));
    let (names, digests) = (strings("qrun.input.names"), strings("qrun.input.sha256"));
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let at = names.iter().position(|n| *n == format!("checkpoint/{name}")).unwrap();
        assert_eq!(digests[at], digest(nano().join(name)), "{name}");
    }
    assert_eq!(metadata.str("qrun.quantize.imatrix.sha256"), Some(&*digest(imatrix().path.path)));
    assert_eq!(metadata.str("qrun.quantize.format"), Some("q8_0"));
    assert_eq!(metadata.str("qrun.quantize.native_mxfp4"), Some("keep"));
    assert_eq!(strings("qrun.quantize.tensors"), ["attn_k=q4_0"]);
    assert_eq!(metadata.str("qrun.convert.dtype"), Some("f32"));
    assert_eq!(metadata.str("qrun.convert.tokenizer"), Some("checkpoint"));
    assert!(metadata.u64("qrun.quantize.version").is_some());
    // Neither a label nor a path: what differs between two makings of the same bytes is not said.
    let said = format!(
        "{:?}",
        metadata.iter().filter(|(k, _)| k.starts_with("qrun.")).collect::<Vec<_>>()
    );
    assert!(!said.contains("mine") && !said.contains(nano().as_str()), "{said}");

    // Through a converted file, with digests that are known already, the file is the same.
    let inputs = names.into_iter().zip(digests).collect();
    spec.provenance = Some(Provenance { made_from: checkpoint(), inputs: Some(inputs).into() });
    spec.source = QuantizeSource::Gguf(place.convert(ConvertDtype::F32).into());
    assert_eq!(run(&spec).unwrap().output.sha256, told.output.sha256);

    // Made from that one, a file says that it is, or, unasked, nothing: least of all what was said.
    let source = place.directory.join("source.gguf");
    fs::rename(&spec.out, &source).unwrap();
    let mut again = place.spec(QuantizeSource::Gguf((&source).into()), "q8_0", NativeMxfp4::Keep);
    run(&again).unwrap();
    let file = File::open(&again.out).unwrap();
    assert!(!file.metadata().iter().any(|(key, _)| key.starts_with("qrun.")));
    again.provenance =
        Some(Provenance { made_from: again.source.clone(), inputs: Label::default() });
    run(&again).unwrap();
    let file = File::open(&again.out).unwrap();
    let list = |text: String| Value::Array(Array::String(vec![text]));
    assert_eq!(file.metadata().get("qrun.input.names"), Some(&list("gguf".to_owned())));
    assert_eq!(file.metadata().get("qrun.input.sha256"), Some(&list(digest(source))));
    assert_eq!(file.metadata().get("qrun.convert.dtype"), None);
}

#[test]
fn a_converted_file_holds_what_the_checkpoint_does() {
    let text = fs::read_to_string(format!("{FIXTURES}/oracle/tensors.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let place = Place::new();
    for (name, dtype) in
        [("f32", ConvertDtype::F32), ("f16", ConvertDtype::F16), ("bf16", ConvertDtype::Bf16)]
    {
        let expected: BTreeMap<String, (String, Vec<u64>, String)> =
            serde_json::from_value(all["convert"][name].clone()).unwrap();
        let out = place.convert(dtype);
        let file = File::open(&out).unwrap();
        assert_eq!(file.tensors().len(), expected.len());
        assert_eq!(file.alignment(), 32);
        for (i, info) in file.tensors().iter().enumerate() {
            let (ty, shape, sha256) = &expected[info.name.as_str()];
            assert_eq!((info.ggml_type.name().to_uppercase(), &info.shape), (ty.clone(), shape));
            let digest = <sha2::Sha256 as sha2::Digest>::digest(file.data(i));
            assert_eq!(&hex::encode(digest), sha256, "{}", info.name);
        }
    }
}

#[test]
fn metadata_and_order_are_those_of_llama_quantize() {
    let place = Place::new();
    let converted = place.convert(ConvertDtype::F32);
    let spec = place.spec(QuantizeSource::Gguf((&converted).into()), "q4_K_M", NativeMxfp4::Keep);
    run(&spec).unwrap();
    let (before, after) = (File::open(&converted).unwrap(), File::open(&spec.out).unwrap());
    let moved = ["general.quantization_version", "general.file_type"];
    let kept: Vec<_> = before.metadata().iter().filter(|(k, _)| !moved.contains(k)).collect();
    let found: Vec<_> = after.metadata().iter().collect();
    assert_eq!(found[..kept.len()], kept[..]);
    assert_eq!(found[kept.len()..], [(moved[0], &Value::U32(2)), (moved[1], &Value::U32(15))]);

    let names: Vec<&str> = after.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(
        &names[..4],
        ["output.weight", "output_norm.weight", "token_embd.weight", "blk.0.attn_k.bias"]
    );
    let mut sorted = names[3..].to_vec();
    sorted.sort();
    assert_eq!(names[3..], sorted);
}

#[test]
fn rules_win_and_say_so() {
    let place = Place::new();
    let mut spec = place.spec(checkpoint(), "q4_K_S", NativeMxfp4::Keep);
    spec.format.tensors = vec![
        rule(r"^output\.weight$", "q4_0"),
        rule("attn_.*weight", "q8_0"),
        rule("output", "f16"),
    ];
    let plan = quantize::plan(&spec).unwrap();
    let find = |name: &str| plan.tensors.iter().find(|t| t.name == name).unwrap();
    assert_eq!(find("output.weight").ggml_type, GgmlType::Q4_0);
    assert_eq!(find("output.weight").why, r"rule ^output\.weight$");
    assert_eq!(find("blk.2.attn_output.weight").ggml_type, GgmlType::Q8_0);
    assert_eq!(find("blk.2.ffn_up_exps.weight").why, "kept: native mxfp4");
    assert_eq!(find("token_embd.weight").ggml_type, GgmlType::Q5_0);
    assert!(find("token_embd.weight").why.contains("falls back to q5_0"));
    let result = run(&spec).unwrap();
    let written: Vec<_> = result.tensors.iter().map(|t| (&t.name, t.ggml_type)).collect();
    let planned: Vec<_> = plan.tensors.iter().map(|t| (&t.name, t.ggml_type)).collect();
    assert_eq!(written, planned);

    spec.format.tensors = vec![rule("outptu", "q4_0")];
    let error = run(&spec).unwrap_err();
    assert!(error.message.contains("\"outptu\" matches none of the 79 tensors"), "{error}");
    spec.format.tensors = vec![rule("(", "q4_0")];
    assert!(run(&spec).unwrap_err().message.contains("is no regular expression"));
}

#[test]
fn of_formats_in_one_pass_each_fails_for_itself_before_anything_is_written() {
    let place = Place::new();
    let specs = ["q8_0", "iq1_s", "q4_K_M", "q5_0"].map(|format| {
        let mut spec = place.spec(checkpoint(), format, NativeMxfp4::Keep);
        spec.out = place.directory.join(format!("{format}.gguf")).into();
        spec
    });
    fs::write(&specs[3].out, "precious").unwrap();
    let ctx = context();
    let results = quantize::run_all(&specs.each_ref().map(|spec| (spec, &ctx)));
    for (spec, result) in specs.iter().zip(results) {
        match spec.format.base.as_str() {
            "iq1_s" => assert!(result.unwrap_err().message.contains("importance matrix")),
            "q5_0" => assert!(result.unwrap_err().message.contains("exists already")),
            _ => {
                let together = fs::read(&result.unwrap().output.path).unwrap();
                fs::remove_file(&spec.out).unwrap();
                run(spec).unwrap();
                assert!(together == fs::read(&spec.out).unwrap(), "{}", spec.format.base);
            }
        }
    }
    assert_eq!(fs::read_to_string(&specs[3].out).unwrap(), "precious");
}

#[test]
fn an_existing_file_is_replaced_only_when_told() {
    let place = Place::new();
    let mut spec = place.spec(checkpoint(), "q8_0", NativeMxfp4::Keep);
    spec.out.replace = false;
    fs::write(&spec.out, "precious").unwrap();
    let error = run(&spec).unwrap_err();
    assert!(error.message.contains("exists already"), "{error}");
    assert_eq!(fs::read_to_string(&spec.out).unwrap(), "precious");
    spec.out.replace = true;
    run(&spec).unwrap();
    File::open(&spec.out).unwrap();
}

/// Keeps what steps warn of.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl EventSink for Heard {
    fn emit(&self, event: Event) {
        if let Event::Log { level: Level::Warn, message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

#[test]
fn a_rule_that_decides_nothing_is_told() {
    let place = Place::new();
    let mut spec = place.spec(checkpoint(), "q8_0", NativeMxfp4::Keep);
    spec.format.tensors = vec![rule("attn_q", "q4_0"), rule("_norm", "q4_0")];
    let heard = Heard::default();
    let context = Context { events: &heard, ..context() };
    quantize::run(&spec, &context).unwrap();
    let mut heard = heard.0.into_inner().unwrap();
    let template = heard.remove(0);
    assert!(template.contains("has no chat template"), "{template}");
    let expected = "the tensor rule \"_norm\" decides nothing: what it matches is never \
                    quantized, or decided by an option or an earlier rule, such as \
                    blk.0.attn_norm.weight (kept: a norm)";
    assert_eq!(heard, [expected]);
}
