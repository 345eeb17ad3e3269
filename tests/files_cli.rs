//! `qrun convert`, `quantize`, `inspect` and `diff`, as a user runs them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

#[path = "common/place.rs"]
mod place;

use std::fs;

use assert_cmd::Command;
use place::{Place, nano};

impl Place {
    fn names(&self) -> Vec<String> {
        let entries = self.directory.read_dir_utf8().unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }
}

#[test]
fn from_checkpoint_to_quantized_file_and_back_to_numbers() {
    let place = Place::new();
    let nano = nano();
    let converted = place.json(&["convert", nano.as_str(), "f32.gguf"]);
    assert_eq!(converted["tensors"].as_array().unwrap().len(), 79);
    let said = place.done(&["quantize", "f32.gguf", "q.gguf", "--format", "Q4_k_m"]);
    assert!(said.starts_with("q.gguf: ") && said.contains("bits per weight\nSHA-256 "), "{said}");
    let direct = place.json(&["quantize", nano.as_str(), "direct.gguf", "--format", "q4_K_M"]);
    assert!(said.contains(direct["output"]["sha256"].as_str().unwrap()));
    for written in [&converted, &direct] {
        let tensors = written["tensors"].as_array().unwrap();
        assert!(
            tensors.len() == 79 && tensors.iter().all(|t| t["sha256"].is_string()),
            "{written}"
        );
    }
    assert_eq!(place.names(), ["direct.gguf", "f32.gguf", "q.gguf"]);

    let inspected = place.json(&["inspect", "q.gguf"]);
    assert_eq!(inspected["metadata"][0]["key"], "general.architecture");
    assert_eq!(inspected["metadata"][0]["value"], "gpt-oss");
    assert_eq!(inspected["types"]["mxfp4"]["tensors"], 12);
    let groups = inspected["groups"].as_array().unwrap();
    let total = |key: &str| groups.iter().map(|g| g[key].as_f64().unwrap()).sum::<f64>();
    assert_eq!((groups.len(), total("tensors")), (11, 79.0));
    assert!((total("share") - 1.0).abs() < 1e-9, "{groups:?}");
    let down = groups.iter().find(|g| g["group"] == "experts_down").unwrap();
    assert_eq!((&down["bits_per_weight"], &down["types"]["mxfp4"]), (&4.25.into(), &4.into()));
    let tokens = &inspected["metadata"].as_array().unwrap().iter();
    let tokens = tokens.clone().find(|p| p["key"] == "tokenizer.ggml.tokens").unwrap();
    assert_eq!(
        (&tokens["type"], &tokens["value"]["length"]),
        (&"array of string".into(), &2048.into())
    );
    let text = place.done(&["inspect", "q.gguf"]);
    assert!(text.contains("blk.3.ffn_up_exps.weight"), "{text}");
    assert!(text.contains("4.25  4 mxfp4"), "{text}");
    assert!(text.contains("[\"!\", \"\\\"\", \"#\", \"$\", ..., \"[PAD2044]\""), "{text}");

    let same = place.done(&["diff", "q.gguf", "direct.gguf"]);
    assert_eq!(
        same,
        "79 of 79 tensors have the same type and bytes; relative RMSE of all weights 0.000000\n"
    );
    let differs = place.json(&["diff", "q.gguf", "f32.gguf"]);
    assert_eq!(differs["identical"], 61);
    assert_eq!(differs["metadata"][0]["key"], "general.file_type");
    let output = differs["tensors"].as_array().unwrap().iter();
    let output = output.clone().find(|t| t["name"] == "output.weight").unwrap();
    assert_eq!((&output["type_a"], &output["type_b"]), (&"q8_0".into(), &"f32".into()));
    let (mean, max) = (output["mean_abs"].as_f64().unwrap(), output["max_abs"].as_f64().unwrap());
    assert!(0.0 < mean && mean < max && max < 0.1, "{output}");
    assert!(place.done(&["diff", "q.gguf", "f32.gguf"]).contains("general.file_type differs"));
}

#[test]
fn the_original_layout_needs_to_be_told_its_vocabulary() {
    let place = Place::new();
    let (nano, original) = (nano(), nano().join("original"));
    place.fails(
        &["convert", original.as_str(), "x.gguf"],
        3,
        &["has no tokenizer.json", "o200k_harmony"],
    );
    let builtin = ["convert", original.as_str(), "x.gguf", "--tokenizer", "o200k_harmony"];
    place.fails(&builtin, 3, &["the tokenizer belongs to another model"]);
    place.fails(
        &["convert", original.as_str(), "x.gguf", "--tokenizer", "gpt2"],
        2,
        &["o200k_harmony"],
    );
    assert!(place.names().is_empty());
    place.done(&[
        "convert",
        original.as_str(),
        "a.gguf",
        "--tokenizer",
        nano.as_str(),
        "--dtype",
        "BF16",
    ]);
    place.done(&["convert", nano.as_str(), "b.gguf", "--dtype", "bf16"]);
    // The same to the byte, the name included: it is that of the directory above `original`.
    let (a, b) =
        (fs::read(place.directory.join("a.gguf")), fs::read(place.directory.join("b.gguf")));
    assert!(a.unwrap() == b.unwrap());
}

#[test]
fn a_dry_run_says_what_and_why_and_writes_nothing() {
    let place = Place::new();
    let nano = nano();
    let rules = ["--tensor-type", r"^output\.weight$=q4_0", "--tensor-type", "attn_v=Q8_0"];
    let args =
        [&["quantize", nano.as_str(), "--dry-run", "--format", "q4_K_S"][..], &rules].concat();
    let text = place.done(&args);
    assert!(text.contains(r"rule ^output\.weight$"), "{text}");
    assert!(text.contains("kept: native mxfp4"), "{text}");
    assert!(
        text.contains("q4_K_S mix; 192 columns are no multiple of 256: q4_K falls back to q5_0"),
        "{text}"
    );
    let plan = place.json(&args);
    assert!(place.names().is_empty());
    let args = [&["quantize", nano.as_str(), "q.gguf", "--format", "q4_K_S"][..], &rules].concat();
    let written = place.json(&args);
    assert_eq!(plan["file_bytes"], written["output"]["bytes"]);
    for (planned, written) in
        plan["tensors"].as_array().unwrap().iter().zip(written["tensors"].as_array().unwrap())
    {
        assert_eq!((&planned["name"], &planned["type"]), (&written["name"], &written["type"]));
    }
    let requantized =
        ["quantize", nano.as_str(), "r.gguf", "--format", "q8_0", "--native-mxfp4", "requantize"];
    let ran = place.qrun(&requantized);
    assert!(ran.err.contains("12 tensors are quantized already"), "{}", ran.err);
}

#[test]
fn tables_fit_the_width_that_there_is_and_lose_nothing() {
    let place = Place::new();
    place.done(&["convert", nano().as_str(), "f32.gguf"]);
    place.done(&["quantize", "f32.gguf", "q4.gguf", "--format", "q4_K_M"]);
    let dry_run = ["quantize", "f32.gguf", "--format", "q4_K_M", "--dry-run"];
    for arguments in [&["inspect", "q4.gguf"][..], &["diff", "f32.gguf", "q4.gguf"], &dry_run] {
        let whole = place.done(arguments);
        for columns in [80, 60] {
            let output = Command::new(env!("CARGO_BIN_EXE_qrun"))
                .current_dir(&place.directory)
                .env("COLUMNS", columns.to_string())
                .args(arguments)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            for line in text.lines() {
                assert!(line.chars().count() <= columns, "{line}");
            }
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&text), words(&whole));
        }
    }
    let table = place.done(&dry_run);
    let norm = table.lines().find(|line| line.contains("output_norm.weight")).unwrap();
    assert!(norm.contains("f32"), "a row is a line where a program reads it: {norm}");
}

#[test]
fn the_thread_count_changes_nothing() {
    let place = Place::new();
    let nano = nano();
    let sha256 = |threads: &str| {
        let out = format!("{threads}.gguf");
        let args = ["quantize", nano.as_str(), &out, "--format", "q3_K_M", "--threads", threads];
        place.json(&args)["output"]["sha256"].clone()
    };
    assert_eq!(sha256("1"), sha256("5"));
}

#[test]
fn several_formats_in_one_pass_are_those_that_come_one_by_one() {
    let place = Place::new();
    place.done(&["convert", nano().as_str(), "f32.gguf"]);
    let names = ["q4_K_M", "q8_0", "q4_0", "f32"];
    let formats: Vec<&str> = names.iter().flat_map(|name| ["--format", *name]).collect();
    let checkpoint = nano();
    let matrix = checkpoint.with_file_name("oracle/nano.imatrix.gguf");
    let weighed = ["--imatrix", matrix.as_str()];
    let cases = [
        ("f32.gguf", "a", &[][..]),
        (checkpoint.as_str(), "b", &[][..]),
        ("f32.gguf", "c", &weighed[..]),
    ];
    for (source, prefix, rest) in cases {
        let out = format!("{prefix}-{{format}}.gguf");
        let all = place.json(&[&["quantize", source, &out][..], &formats, rest].concat());
        for (name, result) in names.iter().zip(all.as_array().unwrap()) {
            let one = format!("{prefix}-one.gguf");
            let args = ["quantize", source, &one, "--format", name, "--force"];
            let alone = place.json(&[&args[..], rest].concat());
            assert_eq!(result["output"]["path"], format!("{prefix}-{name}.gguf"));
            assert_eq!(result["output"]["sha256"], alone["output"]["sha256"], "{name}");
            assert_eq!(result["tensors"], alone["tensors"], "{name}");
            let bytes = |file: &str| fs::read(place.directory.join(file)).unwrap();
            assert!(bytes(&format!("{prefix}-{name}.gguf")) == bytes(&one), "{name}");
        }
    }

    let twice = ["quantize", "f32.gguf", "x.gguf", "--format", "q8_0", "--format", "q4_0"];
    place.fails(&twice, 2, &["x.gguf would be written twice", "model-{format}.gguf"]);
    // One that is there already stops all of them before anything is written.
    let again = ["quantize", "f32.gguf", "a-{format}.gguf", "--format", "q5_0", "--format", "q8_0"];
    place.fails(&again, 2, &["a-q8_0.gguf exists already"]);
    assert!(!place.names().iter().any(|name| name.contains("q5_0")), "{:?}", place.names());
    let dry =
        place.done(&["quantize", "f32.gguf", "--dry-run", "--format", "q8_0", "--format", "q4_0"]);
    assert_eq!(dry.matches("would write").count(), 2, "{dry}");
}

#[test]
fn a_command_line_that_is_wrong() {
    let place = Place::new();
    let nano = nano();
    let quantize = |rest: &[&'static str]| [&["quantize", "IN", "q.gguf"][..], rest].concat();
    place.fails(&quantize(&["--format", "q4_K_X"]), 2, &["did you mean `q4_K_S`?"]);
    place.fails(&quantize(&["--format", "best"]), 2, &["expected one of", "q4_K_M"]);
    let typed = |ty| quantize(&["--format", "q8_0", "--tensor-type", ty]);
    place.fails(&typed("a=q4_KX"), 2, &["did you mean `q4_K`?"]);
    place.fails(&typed("a=q4_K_M"), 2, &["q4_K_M is a mix; a tensor's type is `q4_K`"]);
    place.fails(
        &quantize(&["--format", "q8_0", "--output-tensor-type", "q6K"]),
        2,
        &["did you mean `q6_K`?"],
    );
    place.fails(
        &quantize(&["--format", "q8_0", "--tensor-type", "output"]),
        2,
        &["expected REGEX=TYPE"],
    );
    place.fails(
        &quantize(&["--format", "q8_0", "--tensor-type", "(=q8_0"]),
        2,
        &["unclosed group"],
    );
    place.fails(
        &quantize(&["--format", "q8_0", "--tensor-type", "a=q9"]),
        2,
        &["unknown tensor type \"q9\""],
    );
    place.fails(&["quantize", "IN", "--format", "q8_0"], 2, &["OUT.gguf"]);
    let typo =
        ["quantize", nano.as_str(), "q.gguf", "--format", "q8_0", "--tensor-type", "outptu=q8_0"];
    place.fails(&typo, 2, &["\"outptu\" matches none of the 79 tensors"]);
    assert!(place.names().is_empty());
    fs::write(place.directory.join("q.gguf"), "precious").unwrap();
    place.fails(&["convert", nano.as_str(), "q.gguf"], 2, &["q.gguf exists already", "--force"]);
    assert_eq!(fs::read(place.directory.join("q.gguf")).unwrap(), b"precious");
    place.done(&["convert", nano.as_str(), "q.gguf", "--force"]);
}

#[test]
fn bad_inputs_and_places() {
    let place = Place::new();
    let nano = nano();
    place.fails(&["convert", "nowhere", "x.gguf"], 3, &["nowhere has no config.json"]);
    place.fails(
        &["quantize", "no.gguf", "x.gguf", "--format", "q8_0"],
        3,
        &["cannot open no.gguf"],
    );
    fs::write(place.directory.join("text.gguf"), "hello world").unwrap();
    for args in [
        &["inspect", "text.gguf"][..],
        &["diff", "text.gguf", "text.gguf"],
        &["quantize", "text.gguf", "x.gguf", "--format", "q8_0"],
    ] {
        place.fails(args, 3, &["text.gguf is not a GGUF file", "found \"hell\""]);
    }
    place.done(&["convert", nano.as_str(), "f32.gguf"]);
    let whole = fs::read(place.directory.join("f32.gguf")).unwrap();
    fs::write(place.directory.join("cut.gguf"), &whole[..whole.len() / 2]).unwrap();
    let length = format!("it is {} bytes long, its header says", whole.len() / 2);
    place.fails(&["inspect", "cut.gguf"], 3, &["cut.gguf is truncated", &length]);

    // A file where a directory has to be cannot be written to by anybody.
    place.fails(&["convert", nano.as_str(), "text.gguf/x.gguf"], 4, &["text.gguf"]);

    // A NaN in a tensor that is quantized, and in one that is copied.
    let inspected = place.json(&["inspect", "f32.gguf"]);
    for (name, column, message) in [
        ("blk.1.attn_k.weight", 7, "row 3, column 7 is NaN"),
        ("blk.1.attn_k.bias", 100, "row 0 is not finite from column 100 on"),
    ] {
        let tensors = inspected["tensors"].as_array().unwrap();
        let tensor = tensors.iter().find(|t| t["name"] == name).unwrap();
        let row = if name.ends_with("bias") { 0 } else { 3 };
        let offset = tensor["offset"].as_u64().unwrap() as usize + (row * 192 + column) * 4;
        let mut bytes = whole.clone();
        bytes[offset..offset + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(place.directory.join("nan.gguf"), bytes).unwrap();
        let args = ["quantize", "nan.gguf", "x.gguf", "--format", "q4_K_M"];
        place.fails(&args, 3, &[&format!("tensor {name}: {message}")]);
    }
    assert_eq!(place.names(), ["cut.gguf", "f32.gguf", "nan.gguf", "text.gguf"]);
}

#[test]
fn a_pipe_in_a_checkpoint_is_named_and_waited_for_by_nobody() {
    let place = Place::new();
    fs::create_dir(place.directory.join("ck")).unwrap();
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
    for name in names.iter().chain(&["README.md", "chat_template.jinja", "generation_config.json"])
    {
        for other in names {
            let _ = fs::remove_file(place.directory.join("ck").join(other));
            fs::copy(nano().join(other), place.directory.join("ck").join(other)).unwrap();
        }
        let pipe = place.directory.join("ck").join(name);
        let _ = fs::remove_file(&pipe);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        place.fails(&["convert", "ck", "x.gguf"], 3, &[name, "named pipe"]);
        fs::remove_file(&pipe).unwrap();
    }
}

#[test]
fn a_check_may_have_all_the_time_there_is() {
    let place = Place::new();
    place.done(&["convert", nano().as_str(), "f32.gguf"]);
    place.done(&["check", "f32.gguf", "--timeout", "18446744073709551615s"]);
}

#[test]
fn force_replaces_a_file_and_nothing_else() {
    let place = Place::new();
    let nano = nano();
    place.done(&["convert", nano.as_str(), "f32.gguf"]);
    let before = fs::read(place.directory.join("f32.gguf")).unwrap();
    fs::hard_link(place.directory.join("f32.gguf"), place.directory.join("same.gguf")).unwrap();
    std::os::unix::fs::symlink("f32.gguf", place.directory.join("link.gguf")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(place.directory.join("pipe")).status();
    assert!(pipe.unwrap().success());
    for (out, what) in [
        ("f32.gguf", "is the input"),
        ("same.gguf", "is the input"),
        ("link.gguf", "is the input"),
        ("pipe", "a pipe"),
    ] {
        place.fails(&["quantize", "f32.gguf", out, "--format", "q8_0", "--force"], 2, &[what]);
    }
    place.fails(&["inspect", "pipe"], 3, &["named pipe"]);
    place.fails(&["check", "f32.gguf", "--timeout", "0s"], 2, &["no time"]);
    place.fails(&["check", "f32.gguf", "--threads", "100000"], 2, &["1024"]);
    assert_eq!(fs::read(place.directory.join("f32.gguf")).unwrap(), before);
    assert_eq!(place.names(), ["f32.gguf", "link.gguf", "pipe", "same.gguf"]);
}
