//! A small job over the nano checkpoint, on the real binary.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A job of three steps up to its one model file.
pub const MANIFEST: &str = r#"
schema = 1
name = "t"
workspace = "."

[input]
checkpoint = "checkpoint"

[convert]
gguf = "out/f32.gguf"

[quantize]
gguf = "out/{name}-{format}.gguf"

[[format]]
name = "q4_K_M"
role = "baseline"
"#;

/// A workspace with the nano checkpoint and `job.toml`, in `directory`.
pub fn make(directory: &Path) {
    let nano = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt-oss-nano");
    fs::create_dir_all(directory.join("checkpoint")).unwrap();
    for entry in fs::read_dir(nano).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap();
            fs::copy(&path, directory.join("checkpoint").join(name)).unwrap();
        }
    }
    fs::write(directory.join("job.toml"), MANIFEST).unwrap();
}

/// qrun, to be run in `directory`.
pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qrun"));
    command.args(arguments).current_dir(directory).env("NO_COLOR", "1").env_remove("QRUN_LOG");
    command
}

/// Exit code of `command`, and all that it says.
pub fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// Runs qrun in `directory`; exit code, and all that it said.
pub fn qrun(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    said(&mut command(directory, arguments))
}

/// Runs the job up to its model file; what was said.
pub fn run(directory: &Path, manifest: &str) -> String {
    let (code, said) = qrun(directory, &["run", manifest, "--only", "quantize", "-q"]);
    assert_eq!(code, Some(0), "{said}");
    said
}
