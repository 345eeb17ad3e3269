//! Models in parts: written as llama-gguf-split of llama.cpp b11434 writes them, read through any part, and
//! refused where a part is missing or of another model.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

#[path = "common/place.rs"]
mod place;

use std::fs;

use place::{Place, Ran, nano};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// What `llama-gguf-split --split-max-size 2M` makes of the nano checkpoint in f32.
const F32: [&str; 6] = [
    "1619a7a08911c67ff7c23b5a39afe309c38755f0ac20a461949ce491b127d6b3",
    "680ff2020fee967ff80d344841d85abf8213ef508ae4120864024ccec0a5087e",
    "380023c885e4547688983e6e5c3682e22e147d1a0f07140f9ee1368d2289918f",
    "e2d2be86a2a239dd3c68c6c4ea0b43199a301e839562bbdfbb565372c5369844",
    "684fbec0a41b91565b8fcc7996da6ad53d8dd2798006044abf2625d7c6c7bc0a",
    "8783d782fb95e7f327bb5036371d3c9fd9a766ce5424bcb696efaaedfb7c5c7d",
];

/// And `--split-max-size 1M` of it in q4_K_M.
const Q4_K_M: [&str; 5] = [
    "3f0bc3b54bae12b67cd68724092d0ea0e21f52452459b5b118378200f345b2c2",
    "632d8d55ec56b0c7fdf6130b64c53cd9a0decf7c128723914eda0aff57058fa9",
    "f9f22db8e5f7e17c50d2b8321405e7b484bc92fa22709507d77ea74bc2e9ab43",
    "ef87571fbfa2264ea245ed9fc39e07b4c1380de84e22ef2ce2e3a267bc100bcc",
    "090481b3369bb0f3b1b56916b34f37912d65a93509321628a695a9b3f4928487",
];

impl Place {
    fn convert(&self, out: &str, more: &[&str]) -> Json {
        let nano = nano();
        self.json(&[&["convert", nano.as_str(), out], more].concat())
    }

    fn digest(&self, name: &str) -> String {
        hex::encode(Sha256::digest(fs::read(self.directory.join(name)).unwrap()))
    }

    fn move_file(&self, from: &str, to: &str) {
        fs::rename(self.directory.join(from), self.directory.join(to)).unwrap();
    }
}

fn part(stem: &str, number: usize, count: usize) -> String {
    format!("{stem}-{number:05}-of-{count:05}.gguf")
}

#[test]
fn parts_are_those_of_llama_gguf_split_and_read_through_any_of_them() {
    let place = Place::new();
    let converted = place.convert("m.gguf", &["--split", "2MB"]);
    let sha256 = |json: &Json| -> Vec<String> {
        let parts = json["parts"].as_array().unwrap().iter();
        parts.map(|part| part["sha256"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(sha256(&converted), F32);
    for (i, expected) in F32.iter().enumerate() {
        assert_eq!(place.digest(&part("m", i + 1, 6)), *expected);
    }
    assert_eq!(converted["tensors"].as_array().unwrap().len(), 79);
    assert!(!place.directory.join("m.gguf").exists());

    // Every command takes any part for the whole.
    let third = part("m", 3, 6);
    place.convert("whole.gguf", &[]);
    let listed = place.json(&["inspect", &third]);
    assert_eq!(listed["tensors"].as_array().unwrap().len(), 79);
    assert_eq!(listed["parts"][4]["tensors"], 48);
    assert_eq!(
        (&listed["tensors"][0]["part"], &listed["tensors"][78]["part"]),
        (&1.into(), &6.into())
    );
    let said = place.done(&["inspect", &third]);
    assert!(said.contains("m-00004-of-00006.gguf: 13 tensors, 1909440 bytes"), "{said}");
    let same = place.json(&["diff", "whole.gguf", &third]);
    assert_eq!((&same["identical"], &same["unmatched"]), (&79.into(), &serde_json::json!([])));
    place.done(&["quantize", &third, "from-parts.gguf", "--format", "q4_K_M"]);
    place.done(&["quantize", "whole.gguf", "q.gguf", "--format", "q4_K_M"]);
    assert_eq!(place.digest("from-parts.gguf"), place.digest("q.gguf"));
    let checked = place.json(&["check", &part("m", 6, 6)]);
    assert_eq!(checked["tensors"], 79);
    assert_eq!(checked["qrun_version"], env!("CARGO_PKG_VERSION"));
    assert!(checked["created"].as_str().unwrap().ends_with('Z'), "{checked}");
    // Nothing is left over in any part.
    assert!(!checked["warnings"].to_string().contains("after the last tensor"), "{checked}");
    assert_eq!(
        place.done(&["generate", &third, "--prompt", "x", "--tokens", "4", "--temperature", "0"]),
        place.done(&[
            "generate",
            "whole.gguf",
            "--prompt",
            "x",
            "--tokens",
            "4",
            "--temperature",
            "0"
        ]),
    );
    let bench =
        place.json(&["bench", &third, "--runs", "1", "--warmups", "0", "--prompt-tokens", "2"]);
    assert_eq!(bench["results"].as_array().unwrap().len(), 1);

    // Quantized in parts, from parts.
    let asked = ["quantize", &third, "q-parts.gguf", "--format", "q4_K_M", "--split", "1 MB"];
    let planned = place.json(&[&asked[..], &["--dry-run"]].concat());
    let written = place.json(&asked);
    assert_eq!(sha256(&written), Q4_K_M);
    assert_eq!(
        planned["file_bytes"],
        written["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["bytes"].as_u64().unwrap())
            .sum::<u64>()
    );
    assert_eq!(planned["parts"].as_array().unwrap().len(), Q4_K_M.len());
    let same = place.json(&["diff", "q.gguf", written["parts"][1]["path"].as_str().unwrap()]);
    assert_eq!(same["identical"], 79);

    // Nothing is replaced unasked, and never what is read.
    place.fails(&asked, 2, &["exists already"]);
    place.convert("one.gguf", &["--split", "1GB"]);
    let one = part("one", 1, 1);
    let own = ["quantize", &one, "one.gguf", "--format", "q8_0", "--split", "1GB", "--force"];
    place.fails(&own, 2, &["is the input"]);
    place.fails(
        &["quantize", "q.gguf", "x.gguf", "--format", "f32", "--split", "0"],
        2,
        &["expected a size such as"],
    );
    let few = ["quantize", &third, "few.gguf", "--format", "q8_0", "--split", "100 kB"];
    let err = place.qrun(&few).err;
    assert!(err.contains("tensor output.weight alone has"), "{err}");
    assert_eq!(
        place.json(&["inspect", &part("few", 1, 32)])["tensors"].as_array().map(Vec::len),
        Some(79)
    );
}

#[test]
fn parts_that_are_missing_or_of_another_model_are_named() {
    let place = Place::new();
    place.convert("a.gguf", &["--split", "2MB"]);
    let (second, fifth) = (part("a", 2, 6), part("a", 5, 6));
    let inspect = ["inspect", &second];
    place.move_file(&fifth, "kept");
    place.fails(&inspect, 3, &["it is part 2 of 6, and a-00005-of-00006.gguf is not there"]);
    place.fails(
        &["quantize", &second, "q.gguf", "--format", "q8_0"],
        3,
        &["put all parts into one directory"],
    );

    // The same part twice, a whole file, a part of a set of other size, of other types.
    fs::copy(place.directory.join(part("a", 4, 6)), place.directory.join(&fifth)).unwrap();
    place.fails(&inspect, 3, &["a-00005-of-00006.gguf: by its metadata it is part 4 of 6"]);
    place.convert("whole.gguf", &[]);
    place.move_file("whole.gguf", &fifth);
    place.fails(
        &inspect,
        3,
        &["it is no part of any set; expected part 5 of 6 of a model with 79 tensors"],
    );
    place.convert("b.gguf", &["--split", "1300kB", "--dtype", "f16"]);
    place.move_file(&part("b", 5, 5), &fifth);
    place.fails(
        &inspect,
        3,
        &["it is part 5 of 5 of a model with 79 tensors; expected part 5 of 6"],
    );
    place.convert("c.gguf", &["--split", "1.5MB"]);
    place.move_file(&part("c", 5, 6), &fifth);
    place.fails(&inspect, 3, &["is in part 4 too; these are not parts of one model"]);

    place.move_file("kept", &fifth);
    place.done(&inspect);
    place.move_file(&second, "renamed.gguf");
    place.fails(&["inspect", "renamed.gguf"], 3, &["it has to be called NAME-00002-of-00006.gguf"]);
}

#[test]
fn a_reference_in_parts_is_known_and_checked_when_a_job_is_planned() {
    let place = Place::new();
    place.convert("r.gguf", &["--split", "2MB"]);
    let nano = nano();
    let manifest = format!(
        r#"
schema = 1
name = "nano"
workspace = "."

[input]
checkpoint = "{nano}"

[quantize]
gguf = "{{name}}-{{format}}.gguf"

[[format]]
name = "q4_K_M"
role = "baseline"

[[reference]]
name = "theirs"
gguf = "r-00002-of-00006.gguf"

[bench]
out = "bench.json"

[report]
dir = "reports"
"#
    );
    fs::write(place.directory.join("job.toml"), manifest).unwrap();
    let missing =
        "r-00002-of-00006.gguf: it is part 2 of 6, and r-00005-of-00006.gguf is not there";
    let said = place.done(&["plan", "job.toml"]);
    assert!(said.contains("to hash") && !said.contains(missing), "{said}");
    place.move_file(&part("r", 5, 6), "elsewhere");
    let Ran { code, out: said, .. } = place.qrun(&["plan", "job.toml"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("reference theirs: ") && said.contains(missing), "{said}");
    place.fails(&["run", "job.toml"], 3, &[missing]);
}

#[test]
fn a_job_writes_measures_and_publishes_parts_and_makes_them_again_where_one_is_gone() {
    let place = Place::new();
    let nano = nano();
    let manifest = format!(
        r#"
schema = 1
name = "nano"
workspace = "."

[input]
checkpoint = "{nano}"

[quantize]
gguf = "out/{{name}}-{{format}}.{{timestamp}}.gguf"
split = "1 MB"

[[format]]
name = "q4_K_M"
role = "baseline"

[bench]
warmups = 0
runs = 1
prompt_tokens = 2
generate_tokens = 2
out = "bench.json"

[publish]
to = "published"
sha256_list = "sums.txt"

[report]
dir = "reports"
"#
    );
    let write = |text: &str| fs::write(place.directory.join("job.toml"), text).unwrap();
    write(&manifest.replace("1 MB", "0 MB"));
    place.fails(&["plan", "job.toml"], 2, &["parts of no size hold nothing"]);
    write(&manifest);
    assert!(place.done(&["plan", "job.toml"]).contains("4.1 MB"), "the size of all parts together");
    place.done(&["run", "job.toml"]);

    let names = |directory: &str| -> Vec<String> {
        let entries = place.directory.join(directory).read_dir_utf8().unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    };
    let published = names("published");
    assert_eq!(published, names("out"));
    let digests: Vec<_> =
        published.iter().map(|n| place.digest(&format!("published/{n}"))).collect();
    assert_eq!(digests, Q4_K_M);
    let sums = fs::read_to_string(place.directory.join("sums.txt")).unwrap();
    let expected: Vec<_> =
        published.iter().zip(Q4_K_M).map(|(n, d)| format!("{d}  published/{n}")).collect();
    assert_eq!(sums.lines().collect::<Vec<_>>(), expected);
    let bench: Json =
        serde_json::from_slice(&fs::read(place.directory.join("bench.json")).unwrap()).unwrap();
    let file = &bench["results"][0];
    assert_eq!(file["parts"][4]["sha256"], Q4_K_M[4]);
    assert_eq!(
        file["bytes"],
        file["parts"].as_array().unwrap().iter().map(|p| p["bytes"].as_u64().unwrap()).sum::<u64>()
    );

    // Nothing to do; then one part is gone, and comes back under its own name.
    let quantize = |planned: &Json| {
        let steps = planned["steps"].as_array().unwrap();
        steps.iter().find(|s| s["step"] == "quantize:q4_K_M").unwrap().to_string()
    };
    assert!(quantize(&place.json(&["plan", "job.toml"])).contains("fresh"));
    fs::remove_file(place.directory.join("out").join(&published[2])).unwrap();
    let planned = quantize(&place.json(&["plan", "job.toml"]));
    assert!(planned.contains("stale") && planned.contains(&published[2]), "{planned}");
    place.done(&["run", "job.toml"]);
    let again = names("out");
    let count = again.iter().filter(|n| n.ends_with("-00003-of-00005.gguf")).count();
    assert_eq!(count, 1, "{again:?}");
    // Another size makes other files.
    write(&manifest.replace("1 MB", "2 MB"));
    assert!(quantize(&place.json(&["plan", "job.toml"])).contains("quantize.split"));
}

/// Kills a run with all that it started.
fn kill(mut runner: std::process::Child) {
    let group = format!("-{}", runner.id());
    std::process::Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
    runner.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_job_killed_while_it_writes_parts_goes_on_and_leaves_nothing_over() {
    use std::os::unix::process::CommandExt;

    let nano = nano();
    let manifest = format!(
        "schema = 1\nname = \"nano\"\nworkspace = \".\"\n[input]\ncheckpoint = \"{nano}\"\n\
         [quantize]\ngguf = \"out/{{name}}-{{format}}.gguf\"\nsplit = \"1 MB\"\n\
         [[format]]\nname = \"q4_K_M\"\nrole = \"baseline\"\n[report]\ndir = \"reports\"\n"
    );
    let place = Place::new();
    fs::write(place.directory.join("job.toml"), manifest).unwrap();
    let run = ["run", "job.toml", "--only", "quantize:q4_K_M"];
    let out = place.directory.join("out");
    let names = || -> Vec<String> {
        let Ok(entries) = out.read_dir_utf8() else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    };
    // Wherever the kills come: before there is anything, within a part, between renames, at the end.
    for pause in 0..12u64 {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_qrun"));
        command.current_dir(&place.directory).args(run).process_group(0);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut runner = command.spawn().unwrap();
        while names().is_empty() && runner.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(3 * pause));
        kill(runner);
    }
    place.done(&run);
    let parts: Vec<String> = (1..=5).map(|number| part("nano-q4_K_M", number, 5)).collect();
    assert_eq!(names(), parts);
    let digests: Vec<_> = parts.iter().map(|name| place.digest(&format!("out/{name}"))).collect();
    assert_eq!(digests, Q4_K_M, "those of an undisturbed run");
    let journals = place.directory.join(".qrun/journals");
    let left = journals.read_dir_utf8().map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "{journals}");
    assert!(place.done(&run).contains("nothing to do"));
}
