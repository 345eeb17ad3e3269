//! The runner's side against workers that are shell scripts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::block_on;
use super::child::{Program, Success, run};
use super::order::{Task, WorkOrder};
use crate::steps::{
    ErrorClass, Event, EventSink, Label, LoadCheckSpec, StepError, StepSpec, TimeLimit,
};

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>, AtomicBool);

impl EventSink for Heard {
    fn emit(&self, event: Event) {
        if let Event::Log { message, .. } = &event
            && message == "stop me"
        {
            self.1.store(true, Ordering::Relaxed);
        }
        self.0.lock().unwrap().push(event);
    }
}

fn work(script: &str, limit: Option<&TimeLimit>) -> (Result<Success, StepError>, Vec<Event>) {
    let program = Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
    let limit = Label { is: limit.cloned() };
    let spec = StepSpec::LoadCheck(LoadCheckSpec { gguf: "x.gguf".into(), limit });
    let order = WorkOrder { tasks: vec![Task { spec, record: None }], threads: 1 };
    let heard = Heard::default();
    let result = block_on(run(&program, &order, None, &heard.1, &[&heard])).unwrap();
    (result.and_then(|mut results| results.remove(0)), heard.0.into_inner().unwrap())
}

#[test]
fn a_result_and_its_events_come_through() {
    let (result, events) = work(
        r#"read order; echo '{"event":"metric","name":"peak_rss_mb","value":2.5}'; echo garbage
           echo '{"event":"result","value":{"n":1}}'"#,
        None,
    );
    let success = result.unwrap();
    assert_eq!(success.result, json!({ "n": 1 }));
    assert_eq!(success.peak_rss_bytes, Some(2_500_000));
    assert!(
        matches!(&events[1], Event::Log { message, .. } if message == "not an event: garbage"),
        "{events:?}"
    );
}

#[test]
fn the_order_is_on_standard_input() {
    let (result, _) = work(
        r#"if grep -q '"kind":"load_check","gguf":{"$file":"x.gguf"}'; then
             echo '{"event":"result","value":null}'; fi"#,
        None,
    );
    assert_eq!(result.unwrap().result, json!(null));
}

#[test]
fn a_failure_keeps_its_class() {
    let (result, _) =
        work(r#"echo '{"event":"failed","class":"input","message":"gone"}'; exit 3"#, None);
    let error = result.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::Input, "gone"));
}

#[test]
fn death_without_a_word_is_told_in_words() {
    for (script, expected) in [
        ("kill -SEGV $$", "SIGSEGV (signal 11"),
        ("kill -KILL $$", "out of memory"),
        ("exit 101", "panicked"),
        ("exit 0", "exit code 0 and without a result"),
    ] {
        let error = work(script, None).0.unwrap_err();
        assert!(error.message.contains(expected), "{script}: {error}");
        assert_eq!(error.class, ErrorClass::Step);
    }
}

#[test]
fn a_worker_beyond_its_time_is_killed_with_all_it_started() {
    let limit =
        TimeLimit { after: Duration::from_millis(200), setting: "load_check.timeout".into() };
    // `sleep` inherits standard output: were it left alone, the pipe would stay open.
    let error = work("sleep 1000 & wait", Some(&limit)).0.unwrap_err();
    assert!(error.message.contains("did not finish within 200ms"), "{error}");
    assert!(error.message.contains("load_check.timeout"), "{error}");
}

#[test]
fn a_limit_beyond_the_end_of_all_clocks_is_none() {
    let limit = TimeLimit { after: Duration::MAX, setting: "load_check.timeout".into() };
    let (result, _) = work(r#"echo '{"event":"result","value":1}'"#, Some(&limit));
    assert_eq!(result.unwrap().result, json!(1));
}

#[test]
fn a_worker_that_is_told_to_stop_may_say_its_last_word() {
    let said = r#"echo '{"event":"log","level":"info","message":"stop me"}'"#;
    let script = format!(
        r#"trap 'echo "{{\"event\":\"failed\",\"class\":\"interrupted\",\"message\":\"bye\"}}"; exit 130' TERM
           {said}; while :; do sleep 0.02; done"#
    );
    let error = work(&script, None).0.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::Interrupted, "bye"));
    let error = work(&format!("{said}; sleep 1000"), None).0.unwrap_err();
    assert_eq!(error.class, ErrorClass::Interrupted);
}
