//! A job that is killed again and again, at any time and by any signal: no file under a final name that
//! is not whole and right, no record without its file, no file of the user's changed, nobody left
//! behind, and the run after it ends with the same bytes.
//!
//! The plain test kills a few times. More, with other seeds:
//!
//! ```text
//! QRUN_KILLS=500 QRUN_SEED=7 cargo test --release --test kills -- --nocapture
//! ```

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "common/job.rs"]
mod job;
#[path = "common/measured.rs"]
mod measured;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use job::{command, qrun};
use measured::measured;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A second format, and a list beside what is published.
const MORE: &str = r#"[[format]]
name = "q8_0"

[publish]
sha256_list = "reports/sha256-{timestamp}.txt"
"#;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Runner,
    Worker,
    /// Runner and worker at once.
    Both,
}

const VICTIMS: [Victim; 3] = [Victim::Runner, Victim::Worker, Victim::Both];
const SIGNALS: [&str; 4] = ["KILL", "TERM", "INT", "HUP"];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// All files below `directory` but those of `.qrun`, with their SHA-256.
fn files(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.extend((path.file_name().unwrap() != ".qrun").then_some(path));
            } else {
                let digest = hex::encode(Sha256::digest(fs::read(&path).unwrap()));
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), digest);
            }
        }
    }
    found
}

fn models(files: &BTreeMap<PathBuf, String>) -> BTreeMap<PathBuf, String> {
    let is_model = |path: &Path| path.extension().is_some_and(|e| e == "gguf");
    files.iter().filter(|(path, _)| is_model(path)).map(|(p, d)| (p.clone(), d.clone())).collect()
}

/// A workspace with files of the user's beside the job's.
fn workspace(directory: &Path) {
    let manifest = measured(directory).replace("[publish]\n", MORE);
    fs::remove_dir_all(directory.join("out")).unwrap();
    fs::remove_dir_all(directory.join(".qrun")).unwrap();
    let manifest = manifest.replace("[bench]\n", "[bench]\nwarmups = 1\nruns = 2\n");
    fs::write(directory.join("job.toml"), manifest).unwrap();
    for name in ["out/notes.md", "reports/mine.txt", "published/other.gguf", "out/f32.gguf.partial"]
    {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "precious").unwrap();
    }
}

/// Processes of this program that work in `directory`.
fn at_work(directory: &Path) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_ours = |number: &u32| {
        let link = |name| fs::read_link(format!("/proc/{number}/{name}"));
        link("cwd").is_ok_and(|cwd| cwd == directory)
            && link("exe").is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_qrun")))
    };
    numbers.filter(is_ours).collect()
}

fn signal(processes: &[u32], name: &str) {
    for process in processes {
        // One that has ended in the meantime needs none.
        let process = process.to_string();
        let _ = Command::new("kill")
            .args([&format!("-{name}"), &process])
            .stderr(Stdio::null())
            .status();
    }
}

fn wait(mut runner: Child) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = runner.try_wait().unwrap() {
            return status.code();
        }
        assert!(started.elapsed() < Duration::from_secs(300), "it hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(directory: &Path) -> Child {
    let mut command = command(directory, &["run", "job.toml", "-q"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap()
}

#[test]
fn a_job_that_is_killed_at_any_time_ends_with_the_same_bytes() {
    let (kills, seed) = (number("QRUN_KILLS", 12), number("QRUN_SEED", 1));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().canonicalize().unwrap().join("w");
    workspace(&directory);
    let given = files(&directory);
    let begun = Instant::now();
    let (code, said) = qrun(&directory, &["run", "job.toml", "-q"]);
    assert_eq!(code, Some(0), "{said}");
    let whole = begun.elapsed();
    let expected = models(&files(&directory));
    assert!(expected.len() >= 5, "{expected:?}");

    let mut counts: BTreeMap<(Victim, &str), u64> = BTreeMap::new();
    let (mut finished, mut anew) = (0, true);
    for kill in 0..kills {
        if anew {
            // Without its records, and over nothing.
            fs::remove_dir_all(&directory).unwrap();
            workspace(&directory);
        }
        let (victim, signal_name) =
            (VICTIMS[rng.random_range(0..3)], SIGNALS[rng.random_range(0..4)]);
        let at = whole.mul_f64(rng.random_range(0.0..1.0));
        let said = format!("kill {kill} of seed {seed}: {victim:?} by {signal_name} after {at:?}");
        let runner = start(&directory);
        std::thread::sleep(at);
        let number = runner.id();
        let all = at_work(&directory);
        let is_victim = |process: &u32| match victim {
            Victim::Runner => *process == number,
            Victim::Worker => *process != number,
            Victim::Both => true,
        };
        signal(&all.into_iter().filter(is_victim).collect::<Vec<_>>(), signal_name);
        anew = wait(runner) == Some(0);
        finished += u64::from(anew);
        *counts.entry((victim, signal_name)).or_default() += 1;

        let orphaned = Instant::now();
        while !at_work(&directory).is_empty() {
            assert!(orphaned.elapsed() < Duration::from_secs(30), "{said}: somebody works on");
            std::thread::sleep(Duration::from_millis(5));
        }
        let there = files(&directory);
        for (path, digest) in &given {
            let is = there.get(path);
            assert_eq!(is, Some(digest), "{said}: {} is the user's", path.display());
        }
        for (path, digest) in models(&there) {
            assert_eq!(Some(&digest), expected.get(&path), "{said}: {}", path.display());
        }
        // A report that was being written anew is newer than its record, file by file.
        let (_, records) = qrun(&directory, &["cache", "verify", "-q"]);
        let is_wrong = |line: &&str| !line.starts_with("as recorded") && line.ends_with(".gguf");
        assert_eq!(records.lines().find(is_wrong), None, "{said}: {records}");
    }

    // To the end, and then there is nothing to do and nothing over.
    assert_eq!(wait(start(&directory)), Some(0));
    let there = files(&directory);
    assert_eq!(models(&there), expected);
    let is_over = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        !given.contains_key(*path) && (name.ends_with(".partial") || name.contains(".kept-"))
    };
    let over: Vec<&PathBuf> = there.keys().filter(is_over).collect();
    assert!(over.is_empty(), "{over:?}");
    for inside in ["outbox", "journals"] {
        let left = fs::read_dir(directory.join(".qrun").join(inside)).unwrap().count();
        assert_eq!(left, 0, "{inside}");
    }
    let (_, said) = qrun(&directory, &["run", "job.toml"]);
    assert!(said.contains("nothing to do"), "{said}");
    let (code, said) = qrun(&directory, &["cache", "verify"]);
    assert_eq!(code, Some(0), "{said}");
    println!(
        "{kills} kills of seed {seed} over a job of {whole:?}; {finished} runs ended all the same"
    );
    for ((victim, signal), count) in counts {
        println!("{victim:?} {signal}: {count}");
    }
}
