//! A job over the nano checkpoint that measures, on the real binary.

use std::fs;
use std::path::Path;

use crate::job::{MANIFEST, make, run};

/// What follows [`MANIFEST`] in a job that measures, compares and publishes, too.
const MEASURED: &str = r#"
[[reference]]
name = "given"
gguf = "given.gguf"

[bench]
prompt_tokens = 8
generate_tokens = 4
out = "out/bench.json"

[evaluate]
corpus = ["corpus.txt"]
context = 16

[publish]
to = "published"

[report]
dir = "reports"
"#;

/// A workspace for a whole job whose reference is the model itself, and the job's manifest.
pub fn measured(workspace: &Path) -> String {
    make(workspace);
    run(workspace, "job.toml");
    fs::rename(workspace.join("out/t-q4_K_M.gguf"), workspace.join("given.gguf")).unwrap();
    let text = "In the beginning God created the heaven and the earth. ".repeat(4);
    fs::write(workspace.join("corpus.txt"), text).unwrap();
    format!("{MANIFEST}{MEASURED}")
}
