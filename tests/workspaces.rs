//! Workspaces that are moved or copied, and manifests that share one, on the real binary.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "common/job.rs"]
mod job;

use std::fs;
use std::path::{Path, PathBuf};

use job::{MANIFEST, make, qrun, run};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn outputs(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(directory.join("out")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn a_workspace_that_was_moved_or_copied_is_hashed_and_made_only_once() {
    let home = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| home.path().join(name));
    make(&a);
    assert!(run(&a, "job.toml").contains("3 steps ran, 0 fresh"));
    fs::rename(&a, &b).unwrap();
    let (_, plan) = qrun(&b, &["plan", "job.toml"]);
    assert!(plan.contains("waits for verify") && !plan.contains("is gone"), "{plan}");
    assert!(run(&b, "job.toml").contains("1 step ran, 2 fresh"));
    assert!(run(&b, "job.toml").contains("nothing to do, 3 steps fresh"));
    copy(&b, &c);
    assert!(run(&c, "job.toml").contains("1 step ran, 2 fresh"));
    assert_eq!(outputs(&c).len(), 2);
    // The original is as it was.
    assert!(run(&b, "job.toml").contains("nothing to do, 3 steps fresh"));
}

#[test]
fn a_copy_leaves_the_unfinished_files_of_its_original_alone() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| home.path().join(name));
    make(&a);
    // What an interrupted convert leaves, inside the workspace and outside of it.
    let outside = MANIFEST.replace("out/{name}", "../outside/{name}");
    fs::write(a.join("job.toml"), outside).unwrap();
    run(&a, "job.toml");
    let state = rusqlite::Connection::open(a.join(".qrun/state.db")).unwrap();
    let outputs: String = state
        .query_row("SELECT outputs FROM actions WHERE step = 'quantize:q4_K_M'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert!(outputs.contains(home.path().join("outside").to_str().unwrap()), "{outputs}");
    let outputs: String = state
        .query_row("SELECT outputs FROM actions WHERE step = 'convert'", [], |row| row.get(0))
        .unwrap();
    assert!(outputs.contains("\"out/f32.gguf\""), "{outputs}");
    let mark = |workspace: &Path| {
        let text = fs::read_to_string(workspace.join(".qrun/identity.json")).unwrap();
        let identity: serde_json::Value = serde_json::from_str(&text).unwrap();
        identity["mark"].as_str().unwrap().to_owned()
    };
    let of_a = mark(&a);
    let begun = home.path().join("outside/begun.gguf");
    state
        .execute(
            "INSERT INTO pending VALUES ('t', 'job.toml', 'x', 'k', ?1, ?2)",
            [&format!("[{begun:?}, \"out/begun.gguf\"]"), &of_a],
        )
        .unwrap();
    drop(state);
    let partials = |workspace: &Path, mark: &str| {
        let inside = workspace.join("out/begun.gguf");
        [&begun, &inside].map(|path| path.with_extension(format!("gguf.{mark}.partial")))
    };
    partials(&a, &of_a).iter().for_each(|path| fs::write(path, "half").unwrap());
    copy(&a, &b);
    assert_eq!(qrun(&b, &["cache", "gc"]).0, Some(0));
    assert!(partials(&a, &of_a).iter().all(|path| path.exists()));
    assert_ne!(mark(&b), of_a, "a copy has a mark of its own");
    assert!(!partials(&b, &of_a)[1].exists() && !partials(&b, &mark(&b))[1].exists());
    // Moved, it is itself.
    let c = home.path().join("c");
    fs::rename(&a, &c).unwrap();
    assert_eq!(qrun(&c, &["cache", "du"]).0, Some(0));
    assert_eq!(mark(&c), of_a);
    assert_eq!(qrun(&c, &["cache", "gc"]).0, Some(0));
    assert!(partials(&c, &of_a).iter().all(|path| !path.exists()));
}

#[test]
fn a_manifest_does_not_undo_what_another_of_its_name_did() {
    let home = tempfile::tempdir().unwrap();
    let workspace = home.path();
    make(workspace);
    run(workspace, "job.toml");
    // A copy is the same job.
    fs::write(workspace.join("other.toml"), MANIFEST).unwrap();
    assert!(run(workspace, "other.toml").contains("nothing to do, 3 steps fresh"));
    // An edited one would write other bytes over the same file, again and again.
    let rule = "tensors = [{ match = '^output\\.weight$', type = \"q8_0\" }]\n";
    fs::write(workspace.join("other.toml"), format!("{MANIFEST}{rule}")).unwrap();
    let (code, said) = qrun(workspace, &["run", "other.toml", "-q"]);
    assert_eq!(code, Some(2), "{said}");
    for part in ["quantize:q4_K_M would write over out/t-q4_K_M.gguf", "job.toml", "tensors[0]"] {
        assert!(said.contains(part), "{said}");
    }
    let (code, said) = qrun(workspace, &["plan", "other.toml"]);
    assert!(code == Some(2) && said.contains("cannot run: quantize:q4_K_M would"), "{said}");
    assert_eq!(qrun(workspace, &["doctor", "other.toml"]).0, Some(2));
    // Where it has places of its own it does what differs; where the other is gone it may.
    let apart = format!("{MANIFEST}{rule}").replace("{name}-", "other-");
    fs::write(workspace.join("other.toml"), &apart).unwrap();
    assert!(run(workspace, "other.toml").contains("1 step ran, 2 fresh"));
    assert!(run(workspace, "job.toml").contains("nothing to do, 3 steps fresh"));
    assert!(run(workspace, "other.toml").contains("nothing to do, 3 steps fresh"));
    fs::remove_file(workspace.join("job.toml")).unwrap();
    fs::write(workspace.join("other.toml"), format!("{MANIFEST}{rule}")).unwrap();
    assert!(run(workspace, "other.toml").contains("1 step ran, 2 fresh"));
}

#[test]
fn nor_what_it_wrote_in_parts() {
    let home = tempfile::tempdir().unwrap();
    let workspace = home.path();
    make(workspace);
    let parts = MANIFEST.replace("[quantize]\n", "[quantize]\nsplit = \"1 MB\"\n");
    fs::write(workspace.join("job.toml"), &parts).unwrap();
    run(workspace, "job.toml");
    assert!(workspace.join("out/t-q4_K_M-00001-of-00005.gguf").is_file());
    let rule = "tensors = [{ match = '^output\\.weight$', type = \"q5_0\" }]\n";
    fs::write(workspace.join("other.toml"), format!("{parts}{rule}")).unwrap();
    let (code, said) = qrun(workspace, &["run", "other.toml", "-q"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("job.toml made otherwise") && said.contains("tensors[0]"), "{said}");
    // In one file it has a name of its own.
    fs::write(workspace.join("other.toml"), format!("{MANIFEST}{rule}")).unwrap();
    assert!(run(workspace, "other.toml").contains("1 step ran, 2 fresh"));
    assert!(run(workspace, "job.toml").contains("nothing to do, 3 steps fresh"));
}

#[test]
fn files_dated_in_the_future_are_hashed_once() {
    let home = tempfile::tempdir().unwrap();
    make(home.path());
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let config = fs::File::options().append(true).open(home.path().join("checkpoint/config.json"));
    config.unwrap().set_modified(future).unwrap();
    run(home.path(), "job.toml");
    assert!(run(home.path(), "job.toml").contains("nothing to do, 3 steps fresh"));
}
