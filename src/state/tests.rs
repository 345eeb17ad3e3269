use camino::Utf8Path;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;
use crate::files::{FileDigest, Stamp};

fn workspace() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    (dir, path)
}

/// The job of the tests, as the manifest `name` in no workspace describes it.
fn by(name: &'static str) -> Owner<'static> {
    Owner { job: "job", manifest: Utf8Path::new(name) }
}

fn owner() -> Owner<'static> {
    by("/m/job.toml")
}

fn action(step: &str, key: &str, result: i64) -> Action {
    let result = json!({ "n": result });
    Action {
        job: "job".into(),
        manifest: "/m/job.toml".into(),
        step: step.into(),
        key: key.into(),
        ingredients: vec![("a".into(), "1".into())],
        outputs: vec![FileDigest { path: "/x".into(), bytes: 3, sha256: key.into() }],
        result_sha256: hex::encode(Sha256::digest(result.to_string())),
        result,
        started_ms: 5,
        duration_ms: 7,
        peak_rss_bytes: None,
    }
}

fn stamp(path: &Utf8Path) -> Stamp {
    Stamp::of(path).unwrap().unwrap()
}

#[test]
fn a_digest_is_known_until_the_file_changes() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let file = workspace.join("file");
    std::fs::write(&file, "one").unwrap();
    state.record_digest(&file, &stamp(&file), "aa").unwrap();
    assert_eq!(state.digest(&file, &stamp(&file)).unwrap().as_deref(), Some("aa"));
    // Same length, at once: only the times differ.
    std::fs::write(&file, "two").unwrap();
    assert_eq!(state.digest(&file, &stamp(&file)).unwrap(), None);
}

#[test]
fn a_file_as_new_as_its_record_is_not_trusted() {
    let (_dir, workspace) = workspace();
    let file = workspace.join("file");
    std::fs::write(&file, "one").unwrap();
    let stamp = stamp(&file);
    let ms = 1_000_000;
    for (now_ns, settled) in [
        (stamp.ctime_ns, false),
        (stamp.ctime_ns + 10 * ms, false),
        (stamp.ctime_ns + 20 * ms, true),
        // A clock that was set back: what is written now gets another time.
        (stamp.ctime_ns - 10 * ms, false),
        (stamp.ctime_ns - 3600 * 1000 * ms, true),
    ] {
        assert_eq!(stamp.is_settled(now_ns), settled, "{}", now_ns - stamp.ctime_ns);
    }
    // Of a time that somebody gave the file nothing follows.
    let touched = Stamp { mtime_ns: stamp.mtime_ns + 3600 * 1000 * ms, ..stamp };
    assert!(touched.is_settled(stamp.ctime_ns + 20 * ms));
    assert!(!touched.is_settled(stamp.ctime_ns + 10 * ms));
}

#[test]
fn a_file_dated_in_the_future_is_hashed_once() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let file = workspace.join("file");
    std::fs::write(&file, "one").unwrap();
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let set = |time| std::fs::File::options().write(true).open(&file).unwrap().set_modified(time);
    set(future).unwrap();
    state.record_digest(&file, &stamp(&file), "aa").unwrap();
    assert_eq!(state.digest(&file, &stamp(&file)).unwrap().as_deref(), Some("aa"));
    // Other bytes under the same size and date.
    std::fs::write(&file, "two").unwrap();
    set(future).unwrap();
    assert_eq!(state.digest(&file, &stamp(&file)).unwrap(), None);
}

#[test]
fn a_file_that_changed_while_it_was_hashed_is_not_recorded() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let file = workspace.join("file");
    std::fs::write(&file, "one").unwrap();
    let before = stamp(&file);
    std::fs::write(&file, "longer").unwrap();
    state.record_digest(&file, &before, "aa").unwrap();
    assert!(state.digest_paths().unwrap().is_empty());
}

#[test]
fn actions_come_back_as_they_were_and_the_last_used_is_the_last() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let (a, b) = (action("s", "k1", 1), action("s", "k2", 2));
    state.record_action(&a).unwrap();
    state.record_action(&b).unwrap();
    assert_eq!(state.action(owner(), "s", "k1").unwrap(), Some(a.clone()));
    assert_eq!(state.last_action(owner(), "s").unwrap(), Some(b));
    state.touch_action(owner(), "s", &a).unwrap();
    assert_eq!(state.last_action(owner(), "s").unwrap(), Some(a.clone()));
    assert_eq!(state.action(Owner { job: "other", ..owner() }, "s", "k1").unwrap(), None);
    assert!(state.wrote(&a.outputs[0]).unwrap());
    assert!(!state.wrote(&FileDigest { bytes: 4, ..a.outputs[0].clone() }).unwrap());
}

#[test]
fn a_success_ends_what_was_pending_under_its_key_only() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let pending = Pending {
        job: "job".into(),
        manifest: "/m/job.toml".into(),
        step: "s".into(),
        key: "k1".into(),
        outputs: vec!["/y".into()],
    };
    state.set_pending(&pending).unwrap();
    state.record_action(&action("s", "k2", 0)).unwrap();
    assert_eq!(state.pending(owner(), "s").unwrap(), Some(pending));
    state.record_action(&action("s", "k1", 0)).unwrap();
    assert_eq!(state.pending(owner(), "s").unwrap(), None);
}

#[test]
fn runs_and_outcomes_are_listed_in_order() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let outcome = |position, step: &str, status, log: Option<&str>| Outcome {
        position,
        step: step.into(),
        status,
        message: None,
        duration_ms: Some(1),
        peak_rss_bytes: None,
        log: log.map(Utf8PathBuf::from),
    };
    let first = state.begin_run(owner(), "qrun job.toml").unwrap();
    state
        .set_outcomes(
            first,
            &[
                outcome(1, "b", Status::Skipped, None),
                outcome(0, "a", Status::Running, Some("/log/1")),
            ],
        )
        .unwrap();
    state.set_outcome(first, &outcome(0, "a", Status::Failed, Some("/log/1"))).unwrap();
    state.finish_run(first, RunOutcome::Failed).unwrap();
    let second = state.begin_run(owner(), "qrun job.toml").unwrap();
    state.set_outcome(second, &outcome(0, "a", Status::Fresh, None)).unwrap();

    assert_eq!(state.last_run(Some(owner())).unwrap().unwrap().id, second);
    assert_eq!(state.last_run(Some(Owner { job: "none", ..owner() })).unwrap(), None);
    let steps: Vec<_> =
        state.outcomes(first).unwrap().into_iter().map(|o| (o.step, o.status)).collect();
    assert_eq!(steps, [("a".to_owned(), Status::Failed), ("b".to_owned(), Status::Skipped)]);
    assert_eq!(state.last_log(None, "a").unwrap(), Some("/log/1".into()));
    state.forget_run(first).unwrap();
    assert!(state.outcomes(first).unwrap().is_empty());
}

#[test]
fn reading_makes_nothing_and_sees_what_a_writer_has_committed() {
    let (_dir, workspace) = workspace();
    assert!(State::open_read_only(&workspace).unwrap().is_none());
    assert!(!directory(&workspace).exists());
    let writer = State::open(&workspace).unwrap();
    writer.record_action(&action("s", "k", 1)).unwrap();
    let reader = State::open_read_only(&workspace).unwrap().unwrap();
    assert!(reader.action(owner(), "s", "k").unwrap().is_some());
    drop((writer, reader));
    let reader = State::open_read_only(&workspace).unwrap().unwrap();
    assert!(reader.action(owner(), "s", "k").unwrap().is_some());
}

#[test]
fn a_newer_layout_is_named_and_kept_aside() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    state.query(|db| db.pragma_update(None, "user_version", 99)).unwrap();
    drop(state);
    for error in
        [State::open(&workspace).err().unwrap(), State::open_read_only(&workspace).err().unwrap()]
    {
        assert!(error.to_string().contains("has layout 99"), "{error}");
    }
    let (state, said) = State::open_or_begin(&workspace).unwrap();
    assert!(said.unwrap().contains("has layout 99"));
    assert!(state.actions().unwrap().is_empty());
    assert!(State::open_or_begin(&workspace).unwrap().1.is_none());
}

#[test]
fn a_damaged_database_is_named_and_kept_aside() {
    let (_dir, workspace) = workspace();
    let garbage = "not a database, but long enough for SQLite to look at its header......";
    std::fs::create_dir(directory(&workspace)).unwrap();
    std::fs::write(directory(&workspace).join("state.db"), garbage).unwrap();
    let error = State::open(&workspace).err().unwrap();
    assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert!(State::open_read_only(&workspace).is_err());
    let (_, said) = State::open_or_begin(&workspace).unwrap();
    let (_, kept) = said.as_ref().unwrap().split_once("kept as ").unwrap();
    assert_eq!(std::fs::read_to_string(kept).unwrap(), garbage);
}

#[test]
fn a_database_without_its_tables_is_damaged() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    state.query(|db| db.execute_batch("DROP TABLE actions")).unwrap();
    let error = state.last_action(owner(), "s").unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
}

#[test]
fn the_second_to_lock_is_told_who_was_first() {
    let (_dir, workspace) = workspace();
    let _state = State::open(&workspace).unwrap();
    let lock = lock_workspace(&workspace, "qrun a.toml").unwrap();
    let error = lock_workspace(&workspace, "qrun b.toml").unwrap_err().to_string();
    assert!(error.contains(&format!("process {} (qrun a.toml)", std::process::id())), "{error}");
    drop(lock);
    lock_workspace(&workspace, "qrun b.toml").unwrap();
}

#[test]
fn garbage_is_what_nobody_will_ask_for() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let there = workspace.join("there.gguf");
    std::fs::write(&there, "model").unwrap();
    let wrote = |key: &str, path: &Utf8Path| Action {
        outputs: vec![FileDigest { path: path.to_owned(), bytes: 5, sha256: key.into() }],
        ..action("quantize:a", key, 0)
    };
    // Replaced and gone; replaced and there; the last one.
    state.record_action(&wrote("k1", &workspace.join("gone.gguf"))).unwrap();
    state.record_action(&wrote("k2", &there)).unwrap();
    state.record_action(&wrote("k3", &workspace.join("gone.gguf"))).unwrap();
    // A measurement that was replaced may be asked for again.
    for key in ["m1", "m2"] {
        state.record_action(&Action { outputs: Vec::new(), ..action("bench:a", key, 0) }).unwrap();
    }
    for path in [&there, &workspace.join("other")] {
        std::fs::write(path, "model").unwrap();
        state.record_digest(path, &stamp(path), "aa").unwrap();
    }
    std::fs::remove_file(workspace.join("other")).unwrap();
    let mark = state.mark().clone();
    let partial = mark.partial(&workspace.join("begun.gguf"));
    std::fs::write(&partial, "half").unwrap();
    state
        .set_pending(&Pending {
            job: "job".into(),
            manifest: "/m/job.toml".into(),
            step: "quantize:b".into(),
            key: "k".into(),
            outputs: vec![workspace.join("begun.gguf"), workspace.join("busy.gguf")],
        })
        .unwrap();
    let busy_partial = mark.partial(&workspace.join("busy.gguf"));
    let busy = std::fs::File::create(&busy_partial).unwrap();
    busy.lock().unwrap();
    std::fs::write(state.journals().join("begun"), "entries").unwrap();
    let runs: Vec<i64> = (0..3).map(|_| state.begin_run(owner(), "qrun").unwrap()).collect();
    for run in &runs {
        std::fs::create_dir_all(state.logs(*run)).unwrap();
    }
    assert_eq!(state.holdings().unwrap().unfinished[0].bytes, 4);

    let removed = state.collect_garbage(1).unwrap();
    assert_eq!((removed.digests, removed.actions, removed.runs), (1, 1, 2));
    assert_eq!(removed.unfinished, std::slice::from_ref(&partial));
    assert!(!partial.exists() && there.exists());
    assert!(busy_partial.exists(), "somebody is writing it");
    assert!(!state.logs(runs[0]).exists() && state.logs(runs[2]).exists());
    assert!(state.action(owner(), "quantize:a", "k1").unwrap().is_none());
    for (step, key) in
        [("quantize:a", "k2"), ("quantize:a", "k3"), ("bench:a", "m1"), ("bench:a", "m2")]
    {
        assert!(state.action(owner(), step, key).unwrap().is_some(), "{step} {key}");
    }
    assert!(state.all_pending().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(state.journals()).unwrap().count(), 0);
    assert!(state.check().unwrap().is_empty());
}

/// A success that wrote a file in the workspace, and tells of it.
fn wrote_inside(workspace: &Utf8Path) -> Action {
    let path = workspace.join("out/a.gguf");
    Action {
        manifest: workspace.join("job.toml"),
        outputs: vec![FileDigest { path: path.clone(), bytes: 5, sha256: "aa".into() }],
        result: json!({ "output": { "path": path }, "log": "made /elsewhere/b", "n": [1, null] }),
        ..action("convert", "k", 0)
    }
}

#[test]
fn what_is_inside_the_workspace_is_found_wherever_that_is() {
    let (_dir, outer) = workspace();
    let (old, new) = (outer.join("a b"), outer.join("deep/er"));
    let state = State::open(&old).unwrap();
    let made = wrote_inside(&old);
    state.record_action(&made).unwrap();
    let pending = |workspace: &Utf8Path| Pending {
        job: "job".into(),
        manifest: workspace.join("job.toml"),
        step: "s".into(),
        key: "k".into(),
        outputs: vec![workspace.join("out/b.gguf"), "/outside/c.gguf".into()],
    };
    state.set_pending(&pending(&old)).unwrap();
    let job = Owner { job: "job", manifest: &made.manifest };
    let run = state.begin_run(job, "qrun job.toml").unwrap();
    let log = state.logs(run).join("00-convert.log");
    let outcome = Outcome {
        position: 0,
        step: "convert".into(),
        status: Status::Done,
        message: None,
        duration_ms: None,
        peak_rss_bytes: None,
        log: Some(log.clone()),
    };
    state.set_outcome(run, &outcome).unwrap();
    let before = state.last_action(job, "convert").unwrap().unwrap();
    assert_eq!(Action { result_sha256: String::new(), ..before.clone() }, {
        Action { result_sha256: String::new(), ..made }
    });
    drop(state);

    std::fs::create_dir(outer.join("deep")).unwrap();
    std::fs::rename(&old, &new).unwrap();
    let state = State::open(&new).unwrap();
    let manifest = new.join("job.toml");
    let moved = state.last_action(Owner { job: "job", manifest: &manifest }, "convert").unwrap();
    let expected = wrote_inside(&new);
    assert_eq!(moved.unwrap(), Action { result_sha256: before.result_sha256, ..expected });
    assert_eq!(state.all_pending().unwrap(), [pending(&new)]);
    assert_eq!(
        state.last_log(None, "convert").unwrap().unwrap(),
        state.logs(run).join("00-convert.log")
    );
    drop(state);

    // A copy has its own unfinished file; the one outside is the original's.
    let copy = outer.join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::create_dir(copy.join(".qrun")).unwrap();
    std::fs::copy(new.join(".qrun/state.db"), copy.join(".qrun/state.db")).unwrap();
    let state = State::open(&copy).unwrap();
    assert_eq!(state.all_pending().unwrap()[0].outputs, [copy.join("out/b.gguf")]);
}

#[test]
fn each_manifest_of_a_name_has_a_last_success_and_all_share_what_is_the_same() {
    let (_dir, workspace) = workspace();
    let state = State::open(&workspace).unwrap();
    let (a, b) = (action("s", "k1", 1), action("s", "k2", 2));
    state.record_action(&a).unwrap();
    state.record_action(&Action { manifest: "/m/other.toml".into(), ..b.clone() }).unwrap();
    let last = |manifest| state.last_action(by(manifest), "s").unwrap().unwrap().key;
    assert_eq!((last("/m/job.toml"), last("/m/other.toml")), ("k1".into(), "k2".into()));
    // One that has done nothing yet is told what the newest did.
    assert_eq!(last("/m/third.toml"), "k2");
    let shared = state.successes("k1").unwrap();
    assert_eq!(shared, std::slice::from_ref(&a));
    state.touch_action(by("/m/third.toml"), "s", &shared[0]).unwrap();
    assert_eq!(last("/m/third.toml"), "k1");
    assert_eq!(state.successes("k1").unwrap().len(), 2);
    let pending = |manifest: &str| Pending {
        job: "job".into(),
        manifest: manifest.into(),
        step: "s".into(),
        key: manifest.into(),
        outputs: vec![format!("/out/{manifest}").into()],
    };
    for manifest in ["/m/job.toml", "/m/other.toml"] {
        state.set_pending(&pending(manifest)).unwrap();
    }
    for manifest in ["/m/job.toml", "/m/other.toml"] {
        assert_eq!(state.pending(by(manifest), "s").unwrap(), Some(pending(manifest)));
    }
    let runs = ["/m/job.toml", "/m/other.toml"].map(|m| state.begin_run(by(m), "qrun").unwrap());
    assert_eq!(state.last_run(Some(owner())).unwrap().unwrap().id, runs[0]);
    assert_eq!(state.last_run(None).unwrap().unwrap().id, runs[1]);
}

#[test]
fn records_of_the_first_layout_are_taken_over_wherever_they_were_written() {
    let (_dir, workspace) = workspace();
    std::fs::create_dir(directory(&workspace)).unwrap();
    let db = rusqlite::Connection::open(directory(&workspace).join("state.db")).unwrap();
    db.execute_batch(include_str!("layout_1.sql")).unwrap();
    drop(db);
    let check = |state: &State| {
        let inside = workspace.join("out/a.gguf");
        let found = state.last_action(by("/any.toml"), "convert").unwrap().unwrap();
        assert_eq!(found.manifest, "");
        let paths: Vec<_> = found.outputs.iter().map(|o| o.path.clone()).collect();
        assert_eq!(paths, [inside.clone(), "/elsewhere/b".into()]);
        assert_eq!(found.result, json!({ "output": { "path": inside }, "n": 1 }));
        let pending = state.pending(by("/any.toml"), "quantize").unwrap().unwrap();
        assert_eq!(pending.outputs, [workspace.join("out/c.gguf")]);
        assert_eq!(
            state.last_log(None, "convert").unwrap(),
            Some(state.logs(1).join("01-convert.log"))
        );
        assert_eq!(state.last_run(None).unwrap().unwrap().manifest, "");
    };
    let path = directory(&workspace).join("state.db");
    let before = std::fs::read(&path).unwrap();
    check(&State::open_read_only(&workspace).unwrap().unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), before, "reading changes nothing");
    check(&State::open(&workspace).unwrap());
}
