//! The rooms of `src/lib.rs` as they are said to stand: nothing uses a room above it, and among
//! rooms of one floor the arrows make no circle.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use regex::Regex;

/// Room to floor, from the table at the head of `src/lib.rs`.
fn floors(lib: &str) -> BTreeMap<String, u32> {
    let row = Regex::new(r"(?m)^//! \| (\d+) \| (.+) \|$").unwrap();
    let room = Regex::new(r"\[`(\w+)`\]").unwrap();
    let mut floors = BTreeMap::new();
    for row in row.captures_iter(lib) {
        for room in room.captures_iter(&row[2]) {
            floors.insert(room[1].to_owned(), row[1].parse().unwrap());
        }
    }
    floors
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

static ROOM: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bcrate::(\w+)").unwrap());

/// The rooms that code names, `crate::room`. Comments may speak of anything.
fn named(code: &str) -> Vec<String> {
    let code: String =
        code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    assert!(!code.contains("crate::{"), "use crate::room, one room a line: this test reads those");
    ROOM.captures_iter(&code).map(|path| path[1].to_owned()).collect()
}

#[test]
fn arrows_point_downwards_and_make_no_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors = floors(&fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(floors.len() > 10, "the table in src/lib.rs: {floors:?}");
    let mut files = Vec::new();
    sources(&src, &mut files);

    let mut wrong = Vec::new();
    let mut arrows = DiGraphMap::<&str, ()>::new();
    for file in &files {
        let inside = file.strip_prefix(&src).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(room, "lib" | "main") {
            continue;
        }
        let Some((room, floor)) = floors.get_key_value(room) else {
            wrong.push(format!("{}: src/lib.rs puts {room} on no floor", inside.display()));
            continue;
        };
        for other in named(&fs::read_to_string(file).unwrap()) {
            let Some((other, above)) = floors.get_key_value(&other) else { continue };
            if above > floor {
                wrong.push(format!("{}: {room} uses {other}, which is above it", inside.display()));
            } else if above == floor && other != room {
                arrows.add_edge(room, other, ());
            }
        }
    }
    for circle in tarjan_scc(&arrows).into_iter().filter(|rooms| rooms.len() > 1) {
        wrong.push(format!("a circle: {}", circle.join(", ")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_are_found_in_code_and_not_in_comments() {
    let code = "use crate::ggml::GgmlType;\n// crate::cli\nfn f() { crate::state::open() }";
    assert_eq!(named(code), ["ggml", "state"]);
}
