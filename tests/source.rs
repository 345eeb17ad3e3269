//! What the source itself promises: where the processor is asked, and where code is unsafe.

use std::path::{Path, PathBuf};

/// All files of Rust below `src`, by their paths there.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("its entries").path();
            match path.is_dir() {
                true => walk(&path, files),
                false => files.push(path),
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let name = |path: &Path| {
        let parts: Vec<_> = path.strip_prefix(&src).expect("below `src`").iter().collect();
        parts
            .iter()
            .map(|part| part.to_str().expect("names in UTF-8"))
            .collect::<Vec<_>>()
            .join("/")
    };
    let rust = files.iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| (name(path), std::fs::read_to_string(path).expect("text"))).collect()
}

/// `FILE:LINE: CODE` of every line that says one of these words outside of comments.
fn lines_with(words: &[&str], allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources() {
        if allowed(&file) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_processor_is_asked_in_one_place() {
    let words = ["_feature_detected!", "__cpuid", "SYS_arch_prctl"];
    let elsewhere = lines_with(&words, |file| file.starts_with("simd/"));
    assert_eq!(elsewhere, Vec::<String>::new());
    assert!(!lines_with(&words, |_| false).is_empty());
}

#[test]
fn code_is_unsafe_in_few_rooms() {
    let elsewhere = lines_with(&["unsafe "], |file| {
        let rooms = ["simd/", "ggml/dot/", "compute/"];
        let maps_of_memory = ["files/map.rs", "files/os.rs"];
        rooms.iter().any(|room| file.starts_with(room)) || maps_of_memory.contains(&file)
    });
    assert_eq!(elsewhere, Vec::<String>::new());
    assert!(!lines_with(&["unsafe "], |_| false).is_empty());
}

#[test]
fn simd_knows_nothing_of_what_is_computed() {
    let others = lines_with(&["crate::", "super::super::"], |file| !file.starts_with("simd/"));
    let others: Vec<_> = others.iter().filter(|line| !line.contains("crate::simd")).collect();
    assert_eq!(others, Vec::<&String>::new());
}
