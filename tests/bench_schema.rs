//! The schema of the benchmark JSON that the project ships.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;

use serde_json::Value;

#[test]
fn the_schema_in_the_tree_is_what_qrun_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/bench.schema.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_qrun")).args(["schema", "bench"]).output().unwrap();
    assert!(output.status.success());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(kept, printed, "cargo run -- schema bench > schemas/bench.schema.json");
}
