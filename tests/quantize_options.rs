//! What `qrun quantize` makes of its options, as a user runs it: importance matrices that are
//! missing, damaged or of another model, and the types that llama-quantize gives for the same
//! options (`oracle/options.json`).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use camino::Utf8Path;
use qrun::gguf::{File, Imatrix, Layout, TensorSource};
use serde::Deserialize;
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// A directory with the matrix `nano.imatrix.gguf`, and others made from it.
struct Place(tempfile::TempDir);

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Whether it warned of anything that has to do with importance.
    fn warns_of_importance(&self) -> bool {
        self.err.lines().any(|line| line.contains("warning: ") && line.contains("importance"))
    }
}

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let matrix = format!("{FIXTURES}/oracle/nano.imatrix.gguf");
        fs::copy(matrix, place.0.path().join("nano.imatrix.gguf")).unwrap();
        place
    }

    /// `qrun quantize` of the nano checkpoint with its experts requantized.
    fn quantize(&self, options: &[&str]) -> Ran {
        let checkpoint = format!("{FIXTURES}/gpt-oss-nano");
        let output = Command::new(env!("CARGO_BIN_EXE_qrun"))
            .current_dir(&self.0)
            .env("NO_COLOR", "1")
            .args(["quantize", &checkpoint, "out.gguf", "--native-mxfp4", "requantize"])
            .args(options)
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn fails(&self, options: &[&str], code: i32, parts: &[&str]) {
        let ran = self.quantize(options);
        assert_eq!(ran.code, code, "{options:?}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{part:?} is not in: {}", ran.err);
        }
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        assert!(!self.0.path().join("out.gguf").exists());
    }

    /// Writes a matrix in the older format: what `edit` makes of each entry of llama-imatrix's.
    fn matrix(&self, file: &str, edit: impl Fn(String, Vec<f32>) -> Option<(String, Vec<f32>)>) {
        let source = self.0.path().join("nano.imatrix.gguf");
        let matrix = Imatrix::open(Utf8Path::from_path(&source).unwrap()).unwrap();
        let mut entries = Vec::new();
        let mut count = 0i32;
        for name in matrix.names() {
            let importance = matrix.get(name).unwrap();
            let mut values = Vec::new();
            importance.read(0, importance.len(), &mut values);
            let Some((name, values)) = edit(name.to_owned(), values) else { continue };
            count += 1;
            entries.extend((name.len() as i32).to_le_bytes());
            entries.extend(name.as_bytes());
            entries.extend(1i32.to_le_bytes());
            entries.extend((values.len() as i32).to_le_bytes());
            entries.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        fs::write(self.0.path().join(file), [&count.to_le_bytes()[..], &entries].concat()).unwrap();
    }

    /// Writes a matrix as llama-imatrix does, with what `edit` makes of the sums and counts in its own.
    fn sums(&self, file: &str, edit: impl Fn(&str, &mut [f32])) {
        let source = self.0.path().join("nano.imatrix.gguf");
        let source = File::open(Utf8Path::from_path(&source).unwrap()).unwrap();
        let layout = Layout::new(source.metadata(), source.tensors()).unwrap();
        let mut bytes = layout.header().to_vec();
        for (number, info) in source.tensors().iter().enumerate() {
            let stored = source.bytes(number).unwrap().as_chunks::<4>().0.iter();
            let mut values: Vec<f32> = stored.map(|v| f32::from_le_bytes(*v)).collect();
            edit(&info.name, &mut values);
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            bytes.resize(bytes.len() + layout.padding(info.bytes()), 0);
        }
        fs::write(self.0.path().join(file), bytes).unwrap();
    }
}

#[test]
fn a_format_that_needs_importance_says_so_of_every_tensor() {
    let place = Place::new();
    let needs = [
        "format q2_K_S needs an importance matrix: 4 tensors would be garbage",
        "blk.0.attn_output.weight as q2_K",
        "--imatrix FILE",
    ];
    place.fails(&["--format", "q2_K_S"], 2, &needs);

    // Types and sizes can be had all the same.
    let dry = place.quantize(&["--format", "q2_K_S", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains(&format!("\nwarning: {}", needs[0])), "{}", dry.out);
    let lines = dry.out.lines().filter(|l| l.ends_with("q2_K_S mix; needs importance"));
    assert_eq!(lines.count(), 4, "{}", dry.out);
    assert!(dry.out.contains("\n\nwould write "), "{}", dry.out);
    let dry = place.quantize(&["--format", "q2_K_S", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&dry.out).unwrap();
    let lacking = |plan: &Value, key: &str| {
        let tensors = plan["tensors"].as_array().unwrap().iter();
        tensors.filter(|t| t[key] == true).count()
    };
    assert_eq!((dry.code, lacking(&plan, "lacks_importance")), (0, 4));
    assert!(plan["needs_imatrix"].as_str().unwrap().starts_with(needs[0]), "{plan}");

    let with = ["--format", "q2_K_S", "--imatrix", "nano.imatrix.gguf"];
    let dry = place.quantize(&[&with[..], &["--dry-run", "--json"]].concat());
    let plan: Value = serde_json::from_str(&dry.out).unwrap();
    assert_eq!(
        (dry.code, &plan["problem"], &plan["needs_imatrix"]),
        (0, &Value::Null, &Value::Null)
    );
    assert_eq!((lacking(&plan, "lacks_importance"), lacking(&plan, "uses_importance")), (0, 28));
    let dry = place.quantize(&[&with[..], &["--dry-run"]].concat());
    let weighed = dry.out.lines().filter(|line| line.ends_with("; weighed by importance"));
    assert_eq!(weighed.count(), 28, "{}", dry.out);
    let made = place.quantize(&with);
    assert!(made.code == 0 && !made.warns_of_importance(), "{}", made.err);
}

#[test]
fn a_matrix_of_another_model_is_refused_or_told_of() {
    let place = Place::new();
    let output = "blk.2.attn_output.weight";
    place.matrix("gap.dat", |name, values| (name != output).then_some((name, values)));
    place.fails(
        &["--format", "q2_K_S", "--imatrix", "gap.dat"],
        2,
        &[
            &format!("tensor {output} would be garbage as q2_K"),
            "gap.dat has no entry of its size for it",
        ],
    );
    place.matrix("short.dat", |name, mut values| {
        values.truncate(if name == "blk.1.ffn_down_exps.weight" { 192 } else { usize::MAX });
        Some((name, values))
    });
    place.fails(
        &["--format", "q4_0", "--imatrix", "short.dat"],
        2,
        &["short.dat has 192 values for tensor blk.1.ffn_down_exps.weight, expected 2304"],
    );

    // Where nothing depends on it, what does not match is a warning.
    let renamed = |name: String, values| match name.strip_prefix("blk.3.") {
        Some(rest) => Some((format!("blk.9.{rest}"), values)),
        None => Some((name, values)),
    };
    place.matrix("renamed.dat", renamed);
    let made = place.quantize(&["--format", "q4_0", "--imatrix", "renamed.dat"]);
    assert_eq!(made.code, 0, "{}", made.err);
    for part in [
        "8 of the 32 entries of the importance matrix renamed.dat are of no tensor of the model",
        "such as blk.9.attn_k.weight",
        "renamed.dat has no entry for 7 tensors, which are quantized without",
    ] {
        assert!(made.err.contains(part), "{part:?} is not in: {}", made.err);
    }
    // Nobody reads the embedding's, and the router is never quantized.
    place.matrix("odd.dat", |name, values| {
        let odd = name.replace("blk.0.ffn_gate_inp.weight", "token_embd.weight");
        Some((odd, values))
    });
    let made = place.quantize(&["--format", "q4_0", "--imatrix", "odd.dat", "--force"]);
    assert!(made.code == 0 && !made.warns_of_importance(), "{}", made.err);
}

#[test]
fn a_matrix_that_is_missing_or_damaged_is_a_bad_input() {
    let place = Place::new();
    let with = |file| ["--format", "q4_0", "--imatrix", file];
    place.fails(&with("none.gguf"), 3, &["cannot open none.gguf"]);
    let checkpoint = format!("{FIXTURES}/gpt-oss-nano/config.json");
    place.fails(&with(&checkpoint), 3, &["config.json is damaged", "importance matrix"]);
    place.matrix("nan.dat", |name, mut values| {
        values[3] = if name == "blk.0.attn_q.weight" { f32::NAN } else { values[3] };
        Some((name, values))
    });
    place.fails(&with("nan.dat"), 3, &["tensor blk.0.attn_q.weight", "found NaN as value 3"]);
    let bytes = fs::read(place.0.path().join("nano.imatrix.gguf")).unwrap();
    fs::write(place.0.path().join("cut.gguf"), &bytes[..bytes.len() / 2]).unwrap();
    place.fails(&with("cut.gguf"), 3, &["cut.gguf is truncated"]);

    fs::copy(place.0.path().join("nano.imatrix.gguf"), place.0.path().join("out.gguf")).unwrap();
    let ran = place.quantize(&["--format", "q4_0", "--imatrix", "out.gguf", "--force"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("is the input out.gguf itself"), "{}", ran.err);
}

#[test]
fn importance_that_is_zero_is_told_or_refused() {
    let place = Place::new();
    let with = |format, file| ["--format", format, "--imatrix", file, "--force"];
    let sound = place.quantize(&with("iq4_nl", "nano.imatrix.gguf"));
    assert!(sound.code == 0 && !sound.warns_of_importance(), "{}", sound.err);
    assert!(sound.err.contains("importance matrix nano.imatrix.gguf: SHA-256 "), "{}", sound.err);
    assert!(sound.err.contains("measured over 20 chunks of "), "{}", sound.err);
    let dry = |format, file| place.quantize(&[&with(format, file)[..], &["--dry-run"]].concat());
    let json = |format, file| {
        let ran = place.quantize(&[&with(format, file)[..], &["--dry-run", "--json"]].concat());
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };

    // Two thirds of each row of 192 columns, half of those of 256; the types have blocks of 32.
    place.sums("runs.gguf", |name, sums| {
        let columns = if name.contains("attn_output") { 256 } else { 192 };
        if name.ends_with(".in_sum2") {
            sums.chunks_mut(columns).for_each(|row| row[..128].fill(0.0));
        }
    });
    let told = place.quantize(&with("iq4_nl", "runs.gguf"));
    assert_eq!(told.code, 0, "{}", told.err);
    for part in [
        "in the importance matrix runs.gguf 66.1% of the weights that it weighs have an importance of zero",
        "blk.0.ffn_down_exps.weight (66.7%)",
        "and 20 more",
        "66.1% in all, they are lost",
    ] {
        assert!(told.err.contains(part), "{part:?} is not in: {}", told.err);
    }
    assert_eq!(told.err.matches("of the weights that it weighs").count(), 1, "{}", told.err);
    let plan = json("iq4_nl", "runs.gguf");
    let shares = plan["imatrix"]["zero_shares"].as_object().unwrap();
    assert_eq!((shares.len(), &shares["blk.3.attn_output.weight"]), (28, &Value::from(0.5)));

    // A whole expert, whose rows would be written as zeros; q4_1 finds its scales without.
    place.sums("expert.gguf", |name, sums| {
        if name == "blk.2.ffn_up_exps.weight.in_sum2" {
            sums[7 * 192..8 * 192].fill(0.0);
        }
    });
    let lost = "expert.gguf is zero for every column of expert 7 of blk.2.ffn_up_exps.weight";
    fs::remove_file(place.0.path().join("out.gguf")).unwrap();
    place.fails(&with("q4_0", "expert.gguf"), 2, &[lost, "lost as q4_0", "such as q8_0"]);
    place.fails(&[&with("q4_0", "expert.gguf")[..], &["--dry-run"]].concat(), 2, &[lost]);
    let kept = dry("q4_1", "expert.gguf");
    assert!(kept.code == 0 && kept.out.contains("blk.2.ffn_up_exps.weight (8.3%)"), "{}", kept.out);

    // Experts that no token was routed to.
    place.sums("unseen.gguf", |name, values| {
        if name.starts_with("blk.1.ffn_") && name.ends_with("_exps.weight.counts") {
            (values[3], values[11]) = (0.0, 0.0);
        }
    });
    let told = dry("q4_0", "unseen.gguf");
    let unseen = "unseen.gguf never reached experts 3 and 11 of layer 1; all of their columns weigh the same";
    assert!(told.code == 0 && told.out.contains(unseen), "{}", told.out);
    let plan = json("q4_0", "unseen.gguf");
    let unmeasured = &plan["imatrix"]["unmeasured"];
    assert_eq!(unmeasured["blk.1.ffn_gate_exps.weight"], serde_json::json!([3, 11]));
    assert_eq!(plan["imatrix"]["sha256"].as_str().unwrap().len(), 64);

    for (value, said) in [(f32::INFINITY, "found inf"), (-2.0, "found -")] {
        place.sums("bad.gguf", |name, sums| {
            if name == "blk.3.attn_k.weight.in_sum2" {
                sums[5] = value;
            }
        });
        let ran = place.quantize(&with("q4_0", "bad.gguf"));
        assert!(
            ran.err.contains("tensor blk.3.attn_k.weight") && ran.err.contains(said),
            "{}",
            ran.err
        );
        assert_eq!(ran.code, 3, "{}", ran.err);
    }
}

#[test]
fn a_fall_back_is_told_or_refused() {
    let place = Place::new();
    // llama-quantize says of this format: 25 of 79 tensor(s) required fallback quantization.
    let mixed = "25 of 79 tensors fall back to another type, such as blk.0.ffn_down_exps.weight: rows of \
                 192 are no multiple of 256, q5_0 instead of q4_K";
    let ran = place.quantize(&["--format", "q4_K_M", "--force"]);
    assert!(ran.code == 0 && ran.err.contains(mixed), "{}", ran.err);
    assert_eq!(ran.err.matches("fall back").count(), 1, "{}", ran.err);

    let asked = ["--format", "q4_K_M", "--tensor-type", "attn_q\\.weight=q6_K", "--force"];
    let named = "the tensor rule \"attn_q\\\\.weight\" is not obeyed for 4 of them, \
                 blk.0.attn_q.weight: rows of 192 are no multiple of 256, q8_0 instead of q6_K";
    for (rest, code) in [(&[][..], 0), (&["--dry-run"], 0), (&["--fallback", "refuse"], 2)] {
        let ran = place.quantize(&[&asked[..], rest].concat());
        assert_eq!(ran.code, code, "{rest:?}: {}", ran.err);
        let said = ran.out + &ran.err;
        assert!(said.contains(mixed) && said.contains(named), "{rest:?}: {said}");
    }
    let wish =
        ["--format", "q8_0", "--output-tensor-type", "q4_K", "--fallback", "refuse", "--dry-run"];
    let ran = place.quantize(&wish);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("1 of 79 tensors fall back"), "{}", ran.err);
    assert!(ran.err.contains("the output tensor type is not obeyed for 1 of them"), "{}", ran.err);
    let none = place.quantize(&["--format", "q8_0", "--fallback", "refuse", "--force"]);
    assert!(none.code == 0 && !none.err.contains("fall back"), "{}", none.err);
}

/// One case of `oracle/options.json`.
#[derive(Deserialize)]
struct Case {
    format: String,
    /// Options of `qrun quantize`.
    qrun: Vec<String>,
    /// Types of the tensors that are not f32 in llama-quantize's file.
    types: BTreeMap<String, String>,
}

#[test]
fn options_give_the_types_of_llama_quantize() {
    let place = Place::new();
    let text = fs::read_to_string(format!("{FIXTURES}/oracle/options.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 10);
    for case in cases {
        let mut options = vec!["--format", &case.format, "--dry-run", "--json"];
        options.extend(case.qrun.iter().map(String::as_str));
        let dry = place.quantize(&options);
        assert_eq!(dry.code, 0, "{options:?}: {}", dry.err);
        let plan: Value = serde_json::from_str(&dry.out).unwrap();
        for tensor in plan["tensors"].as_array().unwrap() {
            let (name, why) = (tensor["name"].as_str().unwrap(), &tensor["why"]);
            let expected = case.types.get(name).map_or("f32", String::as_str);
            assert_eq!(tensor["type"], expected, "{options:?}: {name}: {why}");
        }
    }
}
