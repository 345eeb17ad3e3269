//! What is published, when, and what makes it stale.

use super::*;
use crate::manifest::{FailedFormats, PublishOnly};
use crate::state::State;

/// The job with `failed` and `only` under `[publish]`.
fn publishing(workspace: &Workspace, failed: FailedFormats, only: Option<PublishOnly>) -> Job {
    let mut job = workspace.job();
    let publish = job.publish.as_mut().unwrap();
    (publish.failed, publish.only) = (failed, only);
    job
}

fn recommended_only() -> Option<PublishOnly> {
    Some(PublishOnly { recommended: true, ..PublishOnly::default() })
}

fn last(workspace: &Workspace) -> PublishResult {
    let state = State::open(&workspace.path).unwrap();
    let action = state.last_action(workspace.owner(), "publish").unwrap().unwrap();
    serde_json::from_value(action.result).unwrap()
}

/// Names of the formats published last, and those that were left out with the reason.
fn published(workspace: &Workspace) -> (Vec<String>, Vec<(String, String)>) {
    let PublishResult { files, left_out, .. } = last(workspace);
    (files.into_iter().map(|file| file.format).collect(), left_out.into_iter().collect())
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn publishing_waits_for_every_step_of_its_formats_and_for_the_verdict() {
    let workspace = Workspace::new();
    let plan = workspace.plan(workspace.job());
    let graph = plan.graph();
    let needs = graph.needs(graph.find("publish").unwrap());
    let needs: BTreeSet<&str> =
        needs.iter().map(|(from, _)| graph.node(*from).id.as_str()).collect();
    let expected = ALL.into_iter().filter(|id| id.contains("q4_K") || *id == "report");
    assert_eq!(needs, expected.collect());
    // Of a format that is not published nothing is waited for but the verdict.
    let only = PublishOnly { formats: [1].into(), recommended: false };
    let plan = workspace.plan(publishing(&workspace, FailedFormats::LeaveOut, Some(only)));
    let graph = plan.graph();
    let needs = graph.needs(graph.find("publish").unwrap());
    assert!(needs.iter().all(|(from, _)| !graph.node(*from).id.contains("q4_K_M")));
    assert_eq!(run_job(&workspace, workspace.job()).last().unwrap(), "publish");
}

#[test]
fn a_format_with_a_failed_step_is_left_out_and_named() {
    for failing in ["bench:q4_K_S", "evaluate:q4_K_S", "compare:q4_K_S:quality"] {
        let workspace = Workspace::new();
        let mock = || Mock { fail: named(&[failing]), ..Mock::default() };
        let (ran, summary) = run_with(mock(), &workspace, workspace.job(), true, |_| {});
        assert_eq!(ran.last().unwrap(), "publish");
        assert_eq!(summary.failure(), Some(ErrorClass::Step));
        let why = format!("{failing} failed");
        assert_eq!(
            published(&workspace),
            (vec!["q4_K_M".to_owned()], vec![pair("q4_K_S", &why)]),
            "{failing}"
        );
        // It fails again: nothing else is published than before.
        let (ran, _) = run_with(mock(), &workspace, workspace.job(), true, |_| {});
        assert_eq!(ran, [failing], "the report and publish are fresh");
        // It works: the format comes to the others.
        let ran = run_job(&workspace, workspace.job());
        assert_eq!(ran, [failing, "report", "publish"]);
        assert_eq!(published(&workspace).0, ["q4_K_M", "q4_K_S"]);
    }
}

#[test]
fn without_keep_going_nothing_is_published_after_a_failure() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["bench:q4_K_S"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!(ran.last().unwrap(), "report");
    let publish = summary.steps.iter().find(|s| s.step == "publish").unwrap();
    assert_eq!(publish.status, Status::Skipped);
}

#[test]
fn the_manifest_may_have_formats_published_although_a_step_failed() {
    let workspace = Workspace::new();
    let job = || publishing(&workspace, FailedFormats::Publish, None);
    let mock = Mock { fail: named(&["bench:q4_K_S"]), ..Mock::default() };
    let (_, summary) = run_with(mock, &workspace, job(), true, |_| {});
    assert_eq!(summary.failure(), Some(ErrorClass::Step), "the job has failed all the same");
    let result = last(&workspace);
    let although: Vec<_> = result.files.iter().map(|file| file.although.as_deref()).collect();
    assert_eq!(although, [None, Some("bench:q4_K_S failed")]);
    // Without a file there is nothing to publish.
    let mock = Mock { fail: named(&["quantize:q4_K_S"]), ..Mock::default() };
    let mut job = job();
    job.formats[1].spec.tensors = vec![rule("^output", GgmlType::Q4_0)];
    run_with(mock, &workspace, job, true, |_| {});
    let (formats, left_out) = published(&workspace);
    assert_eq!(formats, ["q4_K_M"]);
    assert_eq!(left_out, [pair("q4_K_S", "quantize:q4_K_S failed")]);
}

#[test]
fn a_format_that_fails_later_is_not_published_any_more_and_its_file_is_named() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    // The mock publishes in place.
    job.publish.as_mut().unwrap().to = workspace.path.join("out");
    run_job(&workspace, job.clone());
    let file = last(&workspace).files[1].file.path.clone();
    job.bench.runs = 20;
    let mock = Mock { fail: named(&["bench:q4_K_S"]), ..Mock::default() };
    let (ran, _) = run_with(mock, &workspace, job.clone(), true, |_| {});
    assert_eq!(ran.last().unwrap(), "publish");
    assert_eq!(published(&workspace).0, ["q4_K_M"]);
    assert_eq!(last(&workspace).others, std::slice::from_ref(&file));
    assert!(file.is_file(), "nothing is deleted");
    // And back.
    job.bench.runs = 10;
    assert!(!run_job(&workspace, job).contains(&"publish".to_owned()));
    assert_eq!(published(&workspace).0, ["q4_K_M", "q4_K_S"]);
}

#[test]
fn where_nothing_passed_nothing_is_published_and_it_is_said_why() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["bench:q4_K_S", "bench:q4_K_M"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), true, |_| {});
    assert_eq!(ran.last().unwrap(), "report");
    let publish = summary.steps.iter().find(|s| s.step == "publish").unwrap();
    assert_eq!(
        publish.message.as_deref(),
        Some(
            "every format is left out: q4_K_M (bench:q4_K_M failed), q4_K_S (bench:q4_K_S failed)"
        )
    );
}

#[test]
fn what_is_recommended_is_published_until_something_else_is() {
    let workspace = Workspace::new();
    let job = || publishing(&workspace, FailedFormats::LeaveOut, recommended_only());
    let not = "it is not recommended";
    run_job(&workspace, job());
    assert_eq!(published(&workspace), (vec!["q4_K_M".into()], vec![pair("q4_K_S", not)]));
    assert!(run_job(&workspace, job()).is_empty());

    // Measured again, with the other verdict.
    let mut slower = job();
    slower.bench.runs = 20;
    let waits = planned(&workspace, slower.clone()).pop().unwrap();
    assert_eq!(waits.0, "publish");
    assert!(waits.1.starts_with("waits for report"), "{waits:?}");
    let mock = Mock { recommended: Some("q4_K_S"), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, slower.clone(), false, |_| {});
    assert_eq!((ran.last().unwrap().as_str(), summary.failure()), ("publish", None));
    assert_eq!(published(&workspace), (vec!["q4_K_S".into()], vec![pair("q4_K_M", not)]));

    // With the same verdict nothing is published anew.
    slower.bench.runs = 30;
    let mock = Mock { recommended: Some("q4_K_S"), ..Mock::default() };
    let (ran, _) = run_with(mock, &workspace, slower, false, |_| {});
    assert!(ran.contains(&"bench:q4_K_M".to_owned()) && !ran.contains(&"publish".to_owned()));

    // What failed is not published, though it be recommended; what is not matters not.
    let mut other = job();
    other.bench.runs = 40;
    let mock = Mock { fail: named(&["bench:q4_K_M"]), ..Mock::default() };
    let (_, summary) = run_with(mock, &workspace, other, true, |_| {});
    let publish = summary.steps.iter().find(|s| s.step == "publish").unwrap();
    assert_eq!(
        publish.message.as_deref(),
        Some(
            "every format is left out: q4_K_M (bench:q4_K_M failed), q4_K_S (it is not recommended)"
        )
    );
    // By name or by recommendation is the same, if it is the same.
    let only = PublishOnly { formats: [0].into(), recommended: false };
    run_job(&workspace, job());
    let named = publishing(&workspace, FailedFormats::LeaveOut, Some(only));
    run_job(&workspace, named.clone());
    assert!(run_job(&workspace, named).is_empty());
}

#[test]
fn what_was_touched_since_it_was_made_is_read_before_it_is_published() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.publish.as_mut().unwrap().to = workspace.path.join("out");
    let q4_k_m = Rc::new(RefCell::new(None));
    let found = Rc::clone(&q4_k_m);
    let out = workspace.path.join("out");
    // The last thing before publish.
    let edit: Rc<dyn Fn()> = Rc::new(move || {
        let files = out.read_dir_utf8().unwrap().map(|e| e.unwrap().into_path());
        let path = files.into_iter().find(|p| p.as_str().contains("q4_K_M")).unwrap();
        let edited = std::fs::read_to_string(&path).unwrap().to_uppercase();
        std::fs::write(&path, edited).unwrap();
        *found.borrow_mut() = Some(path);
    });
    let after = BTreeMap::from([("report".to_owned(), edit)]);
    let seen = Rc::new(RefCell::new(None));
    let mock = Mock { after, published: Rc::clone(&seen), ..Mock::default() };
    run_with(mock, &workspace, job, false, |_| {});
    let path = q4_k_m.borrow().clone().unwrap();
    let spec = seen.borrow().clone().unwrap();
    let intact = |path: &Utf8Path| {
        let file = spec.files.iter().find(|file| file.file.path == path).unwrap();
        file.intact
    };
    assert!(!intact(&path), "its digest is not taken for granted");
    assert!(spec.files.iter().any(|file| file.intact));
}
