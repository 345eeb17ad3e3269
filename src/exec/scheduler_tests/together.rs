//! Steps that share something are one order, and each keeps its own key, result and record.

use super::*;

/// Runs the job and returns the steps of each order, and the summary.
fn orders_of(mock: Mock, workspace: &Workspace, job: Job) -> (Vec<Vec<String>>, Summary) {
    let orders = Rc::default();
    let mock = Mock { orders: Rc::clone(&orders), ..mock };
    let (_, summary) = run_with(mock, workspace, job, true, |_| {});
    let steps = |order: &WorkOrder| {
        let steps = order.tasks.iter().map(|task| task.record.clone().unwrap().step);
        steps.collect::<Vec<_>>()
    };
    let orders = orders.borrow().iter().map(steps).collect();
    (orders, summary)
}

const FORMATS: [&str; 3] = ["quantize:ref:quality", "quantize:q4_K_M", "quantize:q4_K_S"];

#[test]
fn formats_that_are_stale_together_are_one_order_and_one_added_later_runs_alone() {
    let workspace = Workspace::new();
    let (orders, summary) = orders_of(Mock::default(), &workspace, workspace.job());
    assert_eq!(summary.failure(), None, "{summary:?}");
    let of = |kind: &str| {
        let is_of = |order: &&Vec<String>| order[0].starts_with(kind);
        orders.iter().filter(is_of).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("quantize"), [FORMATS]);
    // So are comparisons; what is measured alone, and what shares nothing, is not.
    assert_eq!(of("compare"), [&ALL[13..17]]);
    assert_eq!(of("bench").len(), 4);
    assert_eq!(of("load_check").len(), 2);
    assert_eq!(orders.concat().len(), ALL.len());

    let mut job = workspace.job();
    job.formats.push(format("q5_K_M", false));
    let (orders, _) = orders_of(Mock::default(), &workspace, job);
    assert!(orders.contains(&vec!["quantize:q5_K_M".to_owned()]), "{orders:?}");
    assert!(!orders.concat().contains(&FORMATS[1].to_owned()), "{orders:?}");
}

#[test]
fn formats_that_differ_in_their_names_alone_are_delivered_each_for_itself() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    let mut twin = job.formats[0].clone();
    twin.spec.name = "twin".into();
    twin.baseline = false;
    job.formats.push(twin);
    let (orders, summary) = orders_of(Mock::default(), &workspace, job.clone());
    assert_eq!(summary.failure(), None, "{summary:?}");
    let with_twin = [&FORMATS[..], &["quantize:twin"]].concat();
    assert!(orders.iter().any(|order| *order == with_twin), "{orders:?}");
    assert!(orders_of(Mock::default(), &workspace, job).0.is_empty());
}

#[test]
fn of_steps_that_are_done_together_each_fails_for_itself() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["quantize:q4_K_S"]), ..Mock::default() };
    let (orders, summary) = orders_of(mock, &workspace, workspace.job());
    assert!(orders.contains(&FORMATS.map(str::to_owned).to_vec()), "{orders:?}");
    let status = |id: &str| summary.steps.iter().find(|s| s.step == id).unwrap().status;
    assert_eq!(FORMATS.map(status), [Status::Done, Status::Done, Status::Failed]);
    let (orders, summary) = orders_of(Mock::default(), &workspace, workspace.job());
    assert_eq!(summary.failure(), None, "{summary:?}");
    assert_eq!(orders[0], ["quantize:q4_K_S"]);
}

#[test]
fn where_the_worker_of_several_steps_dies_they_are_done_one_by_one() {
    let workspace = Workspace::new();
    let mock = Mock { die_together: named(&["quantize:q4_K_M"]), ..Mock::default() };
    let (orders, summary) = orders_of(mock, &workspace, workspace.job());
    assert_eq!(summary.failure(), None, "{summary:?}");
    let quantized: Vec<_> = orders.iter().filter(|o| o[0].starts_with("quantize")).collect();
    assert_eq!(quantized[0], &FORMATS);
    assert_eq!(
        quantized[1..].iter().map(|o| &o[0]).collect::<Vec<_>>(),
        FORMATS.iter().collect::<Vec<_>>()
    );
}

#[test]
fn what_is_delivered_before_a_worker_of_several_dies_is_not_done_again() {
    let workspace = Workspace::new();
    let mock = Mock { die_at_the_end: named(&["quantize:q4_K_M"]), ..Mock::default() };
    let (orders, summary) = orders_of(mock, &workspace, workspace.job());
    assert_eq!(summary.failure(), None, "{summary:?}");
    assert_eq!(orders.iter().filter(|o| o[0].starts_with("quantize")).count(), 1, "{orders:?}");
}
