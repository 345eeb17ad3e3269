//! The schemas of the JSON that commands print, as the project ships them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;

use serde_json::Value;

#[test]
fn the_schemas_in_the_tree_are_what_qrun_prints() {
    for (name, file) in
        [("bench", "bench"), ("bench-pair", "bench_pair"), ("run-event", "run_event")]
    {
        let path = format!("{}/schemas/{file}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_qrun")).args(["schema", name]).output().unwrap();
        assert!(output.status.success());
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(kept, printed, "cargo run -- schema {name} > schemas/{file}.schema.json");
    }
}
