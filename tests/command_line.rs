//! Wrong command lines and wrong manifests, on the real binary.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn qrun(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qrun"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("QRUN_LOG")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn manifest(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("job.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path.to_str().unwrap().to_owned())
}

#[test]
fn no_command_prints_the_help() {
    let output = qrun(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage: qrun"));
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_what_is_near() {
    for (arguments, says) in [
        (&["doctr"][..], "doctor"),
        (&["--quite", "doctor"], "--quiet"),
        (&["-q", "-v", "doctor"], "cannot be used with"),
        (&["doctor", "--jsn"], "--json"),
    ] {
        let output = qrun(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn every_command_has_help() {
    let help = qrun(&["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = text.split_once("Commands:").unwrap();
    let names: Vec<&str> = commands
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.contains(&"doctor") && names.contains(&"schema"), "{names:?}");
    for name in names {
        let output = qrun(&[name, "--help"]);
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    }
}

#[test]
fn a_manifest_that_is_not_there_is_a_wrong_command_line() {
    for arguments in [&["no/such.toml"][..], &["plan", "no/such.toml"], &["doctor", "no/such.toml"]]
    {
        let output = qrun(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("cannot read no/such.toml"), "{}", stderr(&output));
    }
}

#[test]
fn a_typo_in_a_manifest_names_file_line_and_column() {
    let (directory, path) = manifest("schema = 1\nname = \"x\"\n\n[becnh]\nruns = 3\n");
    for arguments in [&[path.as_str()][..], &["plan", &path], &["doctor", &path]] {
        let output = qrun(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("job.toml:4:2]"), "{text}");
        assert!(text.contains("[becnh]") && text.contains("did you mean `bench`?"), "{text}");
        assert!(!text.contains('\u{1b}'), "NO_COLOR is honoured: {text}");
        assert!(output.stdout.is_empty());
    }
    assert!(!directory.path().join(".qrun").exists(), "a wrong manifest leaves no state behind");
}

#[test]
fn a_directory_or_bytes_instead_of_a_manifest_is_an_error() {
    let (directory, path) = manifest("");
    std::fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    let as_directory = directory.path().to_str().unwrap();
    for path in [path.as_str(), as_directory] {
        let output = qrun(&["doctor", path]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("cannot read"), "{}", stderr(&output));
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = qrun(&["completions", shell]);
        assert!(output.status.success(), "{shell}: {}", stderr(&output));
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["quantize", "imatrix", "doctor"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("exec-step"), "{shell}: what is hidden is not completed");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    let to = pages.to_str().unwrap();
    for _ in 0..2 {
        let output = qrun(&["man", "--out", to]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let mut names: Vec<String> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in ["qrun.1", "qrun-run.1", "qrun-cache-gc.1"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("exec") || name.contains("help")), "{names:?}");
    let page = std::fs::read(pages.join("qrun-quantize.1")).unwrap();
    assert_eq!(page, qrun(&["man", "quantize"]).stdout);
    let text = String::from_utf8(page).unwrap();
    assert!(text.contains(".TH qrun-quantize 1") && text.contains("imatrix"), "{text}");

    let output = qrun(&["man", "cache", "cg"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected one of du, verify, gc"), "{}", stderr(&output));
}

#[test]
fn a_line_that_nobody_can_read_is_named_instead_of_drawn() {
    let long = "a".repeat(70_000);
    let lines = "schema = 1\nname = \"t\"\n[input]\ncheckpoint = \"x\"\n[quantize]\n\
                 gguf = \"{format}.gguf\"\n[[format]]\nname = \"q4_K_M\"\n";
    for (text, says) in [
        (
            format!("{lines}tensors = [{{ match = \"{long}\", type = \"nope\" }}]"),
            "line 9, column 700",
        ),
        (format!("{lines}tensors = \"{}\" foo", "é".repeat(70_000)), "line 9, column 700"),
        (format!("{lines}{long} = 1"), "line 9, column 1)"),
        (format!("{lines}foo = 1\n# {long}"), "line 9, column 1)"),
    ] {
        let (_directory, path) = manifest(&text);
        let output = qrun(&["plan", &path]);
        let err = stderr(&output).replace("\n  │", "");
        assert_eq!(output.status.code(), Some(2), "{}", &err[..err.len().min(2000)]);
        assert!(err.contains(says), "{says}: {}", &err[..err.len().min(2000)]);
    }
}

#[test]
fn a_wrong_file_as_manifest_is_one_clear_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (directory, pipe) = manifest("");
    std::fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let gguf = directory.path().join("model.gguf");
    std::fs::write(&gguf, b"GGUF\x03\0\0\0").unwrap();
    // More than could be read in the time of a test, and more than there is memory.
    std::fs::File::options().append(true).open(&gguf).unwrap().set_len(1 << 42).unwrap();
    let nano = root.join("tests/fixtures/gpt-oss-nano");
    for (path, what) in [
        (gguf.as_path(), "it is a GGUF file, which `qrun inspect` shows"),
        (&nano.join("model.safetensors"), "it is a safetensors file"),
        (&nano.join("config.json"), "it is JSON"),
        (Path::new(env!("CARGO_BIN_EXE_qrun")), "it is a binary file"),
        (root, "it is a directory"),
        (Path::new(&pipe), "it is a pipe, a socket or a device"),
        (&root.join("README.md"), "this is no manifest"),
        (&root.join("Cargo.toml"), "this is no manifest"),
        (&root.join("src/main.rs"), "this is no manifest"),
    ] {
        let output = qrun(&["plan", path.to_str().unwrap()]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.replace("\n  │", "").contains(what), "{text}");
        assert_eq!(text.matches('×').count(), 1, "{text}");
        assert!(text.lines().count() < 15, "{text}");
    }
}

#[test]
fn an_escape_that_toml_does_not_have_gets_a_hint_at_single_quotes() {
    let (_directory, path) = manifest(
        "schema = 1\nname = \"x\"\n[[format]]\nname = \"q4_K_M\"\n\
         tensors = [{ match = \"^output\\.weight$\", type = \"q4_0\" }]\n",
    );
    let text = stderr(&qrun(&["plan", &path]));
    assert!(text.contains("'^output\\.weight$'"), "{text}");
}

#[test]
fn of_many_slips_of_syntax_the_first_are_shown() {
    let (_directory, path) = manifest(&format!("schema = 1\n{}", "a = 1 b\n".repeat(100)));
    let text = stderr(&qrun(&["plan", &path]));
    assert_eq!(text.matches('×').count(), 5, "{text}");
    assert!(text.contains("problems, of which the first 5 are shown"), "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_qrun"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn doctor_says_why_a_host_cannot_do_a_job() {
    let job = |ram: &str| {
        format!(
            "schema = 1\nname = \"x\"\n[host]\nmin_ram = \"{ram}\"\n\
             [input]\ncheckpoint = \"{}\"\n\
             [quantize]\ngguf = \"{{format}}.gguf\"\n\
             [[format]]\nname = \"q8_0\"\nrole = \"baseline\"\n",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt-oss-nano").display()
        )
    };
    let (_directory, path) = manifest(&job("1 PB"));
    let output = qrun(&["doctor", &path]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("1.0 PB"), "{text}");

    let (_directory, path) = manifest(&job("1 MB"));
    let output = qrun(&["doctor", &path, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["can_run"], true);
    assert!(json["host"]["ram_bytes"].as_u64().unwrap() > 0);
}
