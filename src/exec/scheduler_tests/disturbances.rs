//! Failures, interruptions, inputs that change meanwhile, and runs of a part of the job.

use super::*;

#[test]
fn a_failure_stops_new_steps_but_the_report() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["load_check:q4_K_M"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!(ran[ran.len() - 2..], ["load_check:q4_K_M", "report"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Step));
    assert_eq!(summary.count(Status::Failed), 1);
    assert_eq!(summary.steps.len(), ALL.len());
    assert_eq!(summary.count(Status::Skipped), ALL.len() - 7);
    let report = std::fs::read(workspace.path.join("reports/report")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let failed = &report["candidates"][0]["load_check"];
    assert_eq!(failed["failure"], "load_check:q4_K_M broke");
}

#[test]
fn keep_going_finishes_what_does_not_depend_on_the_failure() {
    let workspace = Workspace::new();
    let mock = Mock { fail: named(&["load_check:q4_K_S"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), true, |_| {});
    assert!(ran.contains(&"report".to_owned()) && ran.contains(&"bench:q4_K_M".to_owned()));
    assert!(!ran.contains(&"bench:q4_K_S".to_owned()));
    let skipped = summary.steps.iter().find(|s| s.step == "bench:q4_K_S").unwrap();
    assert_eq!(skipped.message.as_deref(), Some("load_check:q4_K_S failed"));
    let report = std::fs::read(workspace.path.join("reports/report")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let failed = &report["candidates"][1];
    assert_eq!(failed["load_check"]["failure"], "load_check:q4_K_S broke");
    assert_eq!(failed["bench"]["skipped"], true);
    assert!(failed["bench"]["result"].is_null() && failed["quantize"]["result"].is_object());
    // Once it works, only what was missing runs.
    let ran = run_job(&workspace, workspace.job());
    assert!(ran.contains(&"load_check:q4_K_S".to_owned()) && ran.contains(&"publish".to_owned()));
    assert!(!ran.contains(&"quantize:q4_K_S".to_owned()), "{ran:?}");
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped_and_keeps_its_names() {
    let workspace = Workspace::new();
    let mock = Mock { interrupt: named(&["quantize:q4_K_M"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), true, |_| {});
    assert_eq!(ran[ran.len() - 2..], ["quantize:q4_K_M", "quantize:q4_K_S"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Interrupted));
    let skipped = summary.steps.iter().filter(|s| s.status == Status::Skipped);
    let reasons: BTreeSet<_> = skipped.filter_map(|s| s.message.as_deref()).collect();
    assert_eq!(reasons, BTreeSet::from(["interrupted before it started"]));
    let state = crate::state::State::open(&workspace.path).unwrap();
    let begun = state.pending(workspace.owner(), "quantize:q4_K_M").unwrap().unwrap().outputs;
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let ran = run_job(&workspace, workspace.job());
    assert_eq!(ran[0], "quantize:q4_K_M");
    let action = state.last_action(workspace.owner(), "quantize:q4_K_M").unwrap().unwrap();
    assert_eq!([action.outputs[0].path.clone()], begun.as_slice());
    assert_eq!(state.pending(workspace.owner(), "quantize:q4_K_M").unwrap(), None);
}

#[test]
fn a_worker_that_died_after_its_record_has_lost_nothing() {
    let workspace = Workspace::new();
    let mock = Mock { die_at_the_end: named(&["convert"]), ..Mock::default() };
    let (_, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!(summary.failure(), Some(ErrorClass::Step));
    let ran = run_job(&workspace, workspace.job());
    assert!(!ran.contains(&"convert".to_owned()), "{ran:?}");
}

#[test]
fn an_input_that_changes_under_a_step_spoils_its_result() {
    let workspace = Workspace::new();
    let mock = Mock { edit: named(&["evaluate:q4_K_M"]), ..Mock::default() };
    let (_, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    let failed = summary.steps.iter().find(|s| s.status == Status::Failed).unwrap();
    assert_eq!(failed.step, "evaluate:q4_K_M");
    assert!(failed.message.as_ref().unwrap().contains("changed while this step read it"));
    let ran = run_job(&workspace, workspace.job());
    assert_eq!(ran[..3], ["verify", "evaluate:q4_K_M", "evaluate:q4_K_S"]);
}

#[test]
fn a_model_file_made_of_changing_inputs_does_not_stay() {
    let workspace = Workspace::new();
    std::fs::create_dir(workspace.path.join("out")).unwrap();
    let out = workspace.path.join("out/f32.gguf");
    std::fs::write(&out, "precious").unwrap();
    let mock = Mock { edit: named(&["convert"]), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!(ran, ["verify", "convert"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Input));
    // What stood under its name stands there again, and nothing else.
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(workspace.path.join("out")).unwrap().count(), 1);
}

#[test]
fn an_input_that_changes_behind_verify_is_not_taken_for_what_verify_saw() {
    let workspace = Workspace::new();
    let weights = workspace.path.join("checkpoint/model.safetensors");
    let edited = weights.clone();
    // As long as before.
    let edit: Rc<dyn Fn()> = Rc::new(move || std::fs::write(&edited, "WEIGHTS").unwrap());
    let after = BTreeMap::from([("verify".to_owned(), edit)]);
    let (ran, summary) =
        run_with(Mock { after, ..Mock::default() }, &workspace, workspace.job(), false, |_| {});
    assert_eq!(ran, ["verify"]);
    assert_eq!(summary.failure(), Some(ErrorClass::Input));
    let state = crate::state::State::open(&workspace.path).unwrap();
    assert_eq!(state.last_action(workspace.owner(), "convert").unwrap(), None);
    assert_eq!(run_job(&workspace, workspace.job()).len(), ALL.len());
}

#[test]
fn an_input_that_changes_while_a_step_waits_for_its_turn_spoils_it() {
    let workspace = Workspace::new();
    let corpus = workspace.path.join("corpus.txt");
    // Its turn comes after the benches.
    let edit: Rc<dyn Fn()> = Rc::new(move || std::fs::write(&corpus, "meanwhile").unwrap());
    let after = BTreeMap::from([("bench:q4_K_S".to_owned(), edit)]);
    let (ran, summary) =
        run_with(Mock { after, ..Mock::default() }, &workspace, workspace.job(), false, |_| {});
    let failed = summary.steps.iter().find(|s| s.status == Status::Failed).unwrap();
    assert_eq!(failed.step, "evaluate:q4_K_M", "{ran:?}");
    assert!(failed.message.as_ref().unwrap().contains("waited for its turn"), "{summary:?}");
}

#[test]
fn force_redoes_and_only_restricts() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let select = |force: &[&str], only: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let (force, only) = (owned(force), owned(only));
        let prepare = move |plan: &mut Plan| {
            let selection = plan.find_steps(&force, &only).unwrap();
            plan.select(selection);
        };
        run_with(Mock::default(), &workspace, workspace.job(), false, prepare).0
    };
    assert_eq!(select(&["convert"], &[]), ["convert"]);
    assert_eq!(select(&["bench:q4_K_M"], &[]), ["bench:q4_K_M", "report"]);
    assert_eq!(select(&["bench"], &["bench:q4_K_S"]), ["bench:q4_K_S"]);
    // The report waits for its turn since then.
    assert_eq!(select(&["verify"], &[]), ["verify", "report"]);

    let plan = workspace.plan(workspace.job());
    let error = plan.find_steps(&["quantise:q4_K_M".into()], &[]).unwrap_err().to_string();
    assert!(error.contains("did you mean `quantize:q4_K_M`?"), "{error}");
}

#[test]
fn only_runs_what_the_step_needs() {
    let workspace = Workspace::new();
    let (ran, summary) = run_with(Mock::default(), &workspace, workspace.job(), false, |plan| {
        let selection = plan.find_steps(&[], &["load_check:q4_K_S".into()]).unwrap();
        plan.select(selection);
    });
    assert_eq!(ran, ["verify", "convert", "quantize:q4_K_S", "load_check:q4_K_S"]);
    assert_eq!(summary.steps.len(), 4);
}

#[test]
fn a_missing_reference_blocks_or_is_left_out() {
    use crate::manifest::ReferenceOrigin;
    let workspace = Workspace::new();
    std::fs::remove_file(workspace.path.join("given.gguf")).unwrap();
    let plan = planned(&workspace, workspace.job());
    assert!(plan[0].1.contains("reference stability: "), "{plan:?}");
    let mut job = workspace.job();
    job.references[0].origin = ReferenceOrigin::Given { required: false };
    let ran = run_job(&workspace, job.clone());
    assert!(!ran.iter().any(|s| s.contains("stability")), "{ran:?}");
    // The report says where it was looked for.
    job.references[0].gguf = workspace.path.join("nor_here.gguf");
    assert_eq!(run_job(&workspace, job), ["report"]);
}

#[test]
fn the_report_is_written_anew_when_what_it_names_is_named_otherwise() {
    let workspace = Workspace::new();
    run_job(&workspace, workspace.job());
    let moved = workspace.path.join("moved.gguf");
    std::fs::rename(workspace.path.join("given.gguf"), &moved).unwrap();
    let mut job = workspace.job();
    job.references[0].gguf = moved;
    assert_eq!(run_job(&workspace, job.clone()), ["verify", "report"]);
    assert!(run_job(&workspace, job).is_empty());
}

#[test]
fn what_was_delivered_to_a_runner_that_is_gone_is_taken_in_by_the_next() {
    let workspace = Workspace::new();
    let orders = Rc::default();
    let mock =
        Mock { interrupt: named(&["convert"]), orders: Rc::clone(&orders), ..Mock::default() };
    run_with(mock, &workspace, workspace.job(), false, |_| {});
    let is_convert = |order: &&WorkOrder| order.tasks[0].spec.kind().name == "convert";
    let order = orders.borrow().iter().find(is_convert).cloned().unwrap();
    // Its worker lives on and finishes, and nobody hears of it.
    let recorder = crate::steps::testing::Recorder::new();
    let done = perform(&order, &AtomicBool::new(false), &[&recorder], |steps| {
        vec![fake(steps[0].0, 0, "")]
    });
    assert!(done[0].is_ok(), "{done:?}");
    // Neither does a second worker do it again.
    let done = perform(&order, &AtomicBool::new(false), &[&recorder], |steps| {
        assert!(steps.is_empty(), "done already");
        Vec::new()
    });
    assert!(done[0].is_ok(), "{done:?}");
    let ran = run_job(&workspace, workspace.job());
    assert!(!ran.contains(&"convert".to_owned()), "{ran:?}");
    let outbox = workspace.path.join(".qrun/outbox");
    assert_eq!(outbox.read_dir_utf8().unwrap().count(), 0, "all is taken in");
}

#[test]
fn an_order_for_another_machine_has_no_numbers_of_this_one() {
    let workspace = Workspace::new();
    let orders = Rc::default();
    let mock = Mock { elsewhere: true, orders: Rc::clone(&orders), ..Mock::default() };
    let (ran, summary) = run_with(mock, &workspace, workspace.job(), false, |_| {});
    assert_eq!((ran.len(), summary.failure()), (ALL.len(), None));
    for order in orders.borrow().iter() {
        let json = serde_json::to_string(order).unwrap();
        for number in ["inode", "device", "ctime", "pid", "parent"] {
            assert!(!json.contains(&format!("\"{number}")), "{number} in {json}");
        }
    }
    // It has their digests instead.
    let orders = orders.borrow();
    let tasks = orders.iter().flat_map(|order| &order.tasks);
    let reads: Vec<_> = tasks.flat_map(|task| &task.record.as_ref().unwrap().reads).collect();
    assert!(reads.len() > 20 && reads.iter().all(|claim| claim.sha256.is_some()), "{reads:?}");
}
