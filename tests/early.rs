//! What is said before anything runs, and what is accepted when asked, on the real binary.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "common/job.rs"]
mod job;
#[path = "common/measured.rs"]
mod measured;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

use job::{MANIFEST, command, make, qrun, run, said};
use measured::measured;

#[test]
fn what_cannot_be_is_said_before_anything_runs() {
    let home = tempfile::tempdir().unwrap();
    let workspace = home.path();
    let good = measured(workspace);
    let before = fs::read_dir(workspace.join("out")).unwrap().count();
    fs::write(workspace.join("short.txt"), "In the").unwrap();
    for (old, new, code, expected) in [
        (
            "prompt_tokens = 8",
            "prompt_tokens = 1000000",
            2,
            "a text of 1000004 tokens, and the model",
        ),
        (
            "context = 16",
            "context = 1000000",
            2,
            "evaluate.context ask for a text of 1000000 tokens",
        ),
        (
            "context = 16",
            "context = 16\ngreedy_tokens = 1000000",
            2,
            "greedy_tokens and their prompt",
        ),
        ("corpus.txt", "short.txt", 3, "short.txt has 6 bytes, too few for one window of 16"),
        ("given.gguf", "corpus.txt", 3, "reference given: "),
        ("dir = \"reports\"", "dir = \"/proc/self/reports\"", 4, "report.dir: "),
        ("to = \"published\"", "to = \"/proc/self/published\"", 4, "publish.to: "),
        ("out/bench.json", "/proc/self/bench.json", 4, "bench.out: "),
        ("out/{name}", "/proc/self/{name}", 4, "quantize.gguf: "),
    ] {
        fs::write(workspace.join("job.toml"), good.replace(old, new)).unwrap();
        let (found, said) = qrun(workspace, &["run", "job.toml", "-q"]);
        assert_eq!(found, Some(code), "{new}: {said}");
        assert!(said.contains(expected), "{new}: {said}");
        let (found, said) = qrun(workspace, &["doctor", "job.toml"]);
        assert_eq!(found, Some(code), "{new}: {said}");
        let (found, said) = qrun(workspace, &["plan", "job.toml"]);
        assert!(found == Some(code) && said.contains(expected), "{new}: {said}");
        assert!(said.contains("cannot run"), "{new}: {said}");
    }
    assert_eq!(fs::read_dir(workspace.join("out")).unwrap().count(), before);
    fs::write(workspace.join("job.toml"), good).unwrap();
    let (code, said) = qrun(workspace, &["doctor", "job.toml"]);
    assert!(code == Some(0) && said.contains("this host can do it"), "{said}");
}

/// Runs qrun as somebody who is not root: root may write everywhere.
fn as_nobody(home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    const NOBODY: u32 = 65534;
    let mut command = command(home, arguments);
    if rustix::process::geteuid().is_root() {
        let mut todo = vec![home.to_owned()];
        while let Some(path) = todo.pop() {
            // A change of nothing would make a new stamp all the same.
            if path.metadata().unwrap().uid() != NOBODY {
                chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            if path.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    said(&mut command)
}

#[test]
fn a_lock_that_cannot_be_written_is_said_before_anything_runs() {
    let home = tempfile::tempdir().unwrap();
    let workspace = home.path().join("workspace");
    make(&workspace);
    let manifests = home.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let text = MANIFEST.replace("workspace = \".\"", "workspace = \"../workspace\"");
    fs::write(manifests.join("job.toml"), text).unwrap();
    let allow = |mode| fs::set_permissions(&manifests, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    let running = ["run", "manifests/job.toml", "-q", "--only", "quantize"];
    let (code, said) = as_nobody(home.path(), &running);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("job.lock is to hold the digests") && said.contains("[input]"), "{said}");
    assert!(!workspace.join("out").exists());
    let (code, said) = as_nobody(home.path(), &["plan", "manifests/job.toml"]);
    assert!(code == Some(4) && said.contains("cannot run here: "), "{said}");
    assert_eq!(as_nobody(home.path(), &["doctor", "manifests/job.toml"]).0, Some(4));
    // Once there is a lock nothing needs to be written there.
    allow(0o755);
    assert_eq!(as_nobody(home.path(), &running).0, Some(0));
    allow(0o555);
    fs::remove_dir_all(workspace.join("out")).unwrap();
    let (code, said) = as_nobody(home.path(), &running);
    assert!(code == Some(0) && said.contains("2 steps ran"), "{said}");
    allow(0o755);
}

#[test]
fn a_broken_checkpoint_is_said_before_it_is_hashed() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    fs::write(home.path().join("checkpoint/tokenizer.json"), "{").unwrap();
    let (code, said) = qrun(home.path(), &["run", "job.toml", "-q"]);
    assert!(code == Some(3) && said.contains("tokenizer.json"), "{said}");
    assert_eq!(qrun(home.path(), &["doctor", "job.toml"]).0, Some(3));
    assert!(!home.path().join("job.lock").exists());
}

#[test]
fn another_checkpoint_is_accepted_when_asked_file_by_file() {
    let home = tempfile::tempdir().unwrap();
    let workspace = home.path();
    make(workspace);
    let at = |name: &str| workspace.join("checkpoint").join(name);
    let config = fs::read_to_string(at("config.json")).unwrap();
    fs::write(at("extra.json"), "{}").unwrap();
    run(workspace, "job.toml");
    let lock = || fs::read_to_string(workspace.join("job.lock")).unwrap();
    let first = lock();
    assert!(first.contains("extra.json"));

    // The next night.
    fs::write(at("config.json"), format!("{config} ")).unwrap();
    let (code, said) = qrun(workspace, &["run", "job.toml", "-q"]);
    assert!(code == Some(3) && said.contains("--accept-inputs"), "{said}");
    assert!(said.contains("config.json") && lock() == first, "{said}");
    fs::remove_file(at("extra.json")).unwrap();
    fs::write(at("more.json"), "{}").unwrap();
    let (code, said) = qrun(workspace, &["run", "job.toml", "-q"]);
    assert!(code == Some(3) && lock() == first, "{said}");
    assert!(said.contains("extra.json is not there any more, and is in job.lock"), "{said}");
    assert!(said.contains("more.json is new: it is not in job.lock"), "{said}");
    let (_, plan) = qrun(workspace, &["plan", "job.toml", "--accept-inputs"]);
    for line in
        ["to accept: config.json: ", "to accept: extra.json: gone", "to accept: more.json: new"]
    {
        assert!(plan.contains(line), "{plan}");
    }
    assert_eq!(plan.matches("to accept: ").count(), 3, "{plan}");
    let accepting = ["run", "job.toml", "-q", "--only", "quantize", "--accept-inputs"];
    let (code, said) = qrun(workspace, &accepting);
    assert_eq!(code, Some(0), "{said}");
    for line in ["accepted config.json: ", "accepted extra.json: gone", "accepted more.json: new"] {
        assert!(said.contains(line), "{said}");
    }
    assert!(lock().contains("more.json") && !lock().contains("extra.json"), "{}", lock());
    assert_eq!(lock().lines().count(), first.lines().count());
    assert!(run(workspace, "job.toml").contains("nothing to do"));
    let (_, said) = qrun(workspace, &accepting);
    assert!(!said.contains("accepted"), "{said}");

    // Nor does one file more or less go by, where all the others are as they were.
    for (name, there) in [("chat_template.jinja", true), ("generation_config.json", false)] {
        let kept = fs::read(at(name)).ok();
        if there {
            fs::write(at(name), "{{ messages }}").unwrap();
        } else {
            fs::remove_file(at(name)).unwrap();
        }
        for command in ["run", "plan"] {
            let (code, said) = qrun(workspace, &[command, "job.toml"]);
            assert!(code == Some(3) && said.contains(name), "{command}: {said}");
        }
        match kept {
            Some(bytes) => fs::write(at(name), bytes).unwrap(),
            None => fs::remove_file(at(name)).unwrap(),
        }
        assert_eq!(qrun(workspace, &["run", "job.toml", "-q"]).0, Some(0));
    }

    // What the manifest says itself holds, and the line is named.
    let digest = "ab".repeat(32);
    let text = MANIFEST.replace(
        "[convert]",
        &format!("sha256 = {{ \"config.json\" = \"{digest}\" }}\n\n[convert]"),
    );
    fs::write(workspace.join("job.toml"), text).unwrap();
    let (code, said) = qrun(workspace, &accepting);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("correct its digest in line 9 of job.toml"), "{said}");
}
