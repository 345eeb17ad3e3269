//! What a plan says and shows before anything has run.

use super::render::{View, dot, mermaid, text};
use super::testing::{Workspace, format, host, machine};
use super::{Machine, Plan, Verdict, admit};
use crate::host::HostFacts;
use crate::state::{Pending, State};
use crate::steps::ErrorClass;

fn view(plan: &mut Plan) -> View {
    let judgements = plan.judge_all().unwrap();
    let demand = plan.demand(&judgements).unwrap();
    View::new(plan, &judgements, demand).unwrap()
}

/// A plan over no state, as before the first run.
fn cold(job: crate::manifest::Job) -> Plan {
    Plan::new(job, None, machine()).unwrap()
}

#[test]
fn a_plan_without_a_state_names_every_step_and_makes_nothing() {
    let workspace = Workspace::new();
    let mut plan = cold(workspace.job());
    let shown = text(&view(&mut plan));
    // Columns are wider where publish shares blocks.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let first_lines: Vec<String> = shown.lines().take(5).map(words).collect();
    assert_eq!(
        first_lines,
        [
            "tiny: 19 of 19 steps to run",
            "",
            "step verdict writes last took why",
            "verify stale unverified, 36 B to hash in 4 files",
            "convert stale never run; after verify",
        ]
    );
    assert!(!workspace.path.join(".qrun").exists());
}

#[test]
fn the_graph_can_be_drawn() {
    let workspace = Workspace::new();
    let view = view(&mut cold(workspace.job()));
    let drawn = dot(&view);
    for line in [
        "digraph \"tiny\" {",
        "  \"convert\" -> \"quantize:q4_K_M\"",
        "  \"verify\" -> \"bench:ref:stability\"",
        "  \"load_check:q4_K_S\" -> \"publish\"",
    ] {
        assert!(drawn.lines().any(|l| l == line), "{line} is not in\n{drawn}");
    }
    let drawn = mermaid(&view);
    assert!(
        drawn.contains("  s0[\"verify<br/>unverified, 36 B to hash in 4 files\"]:::stale"),
        "{drawn}"
    );
    assert!(drawn.contains("  s0 --> s1\n"), "{drawn}");
}

#[test]
fn each_step_stands_after_what_it_needs() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.convert.gguf = None;
    job.formats.push(format("q6_K", false));
    let plan = cold(job);
    assert!(plan.graph().find("convert").is_none());
    let needs = |to| plan.graph().needs(to).into_iter().map(move |(from, _)| (from, to));
    for (from, to) in (0..plan.graph().len()).flat_map(needs) {
        assert!(from < to);
    }
    let quantize = plan.graph().find("quantize:q6_K").unwrap();
    assert_eq!(plan.graph().needs(quantize).len(), 1, "only verify");
}

#[test]
fn a_machine_that_is_too_small_is_refused() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.host.min_ram = Some(32_000_000_000);
    let mut plan = cold(job);
    let judgements = plan.judge_all().unwrap();
    let error = admit(&judgements, &plan.demand(&judgements).unwrap()).unwrap_err();
    assert_eq!(error.class, ErrorClass::Host);
    assert!(
        error.message.contains("asks for 32.0 GB of memory, this machine has 8.6 GB"),
        "{error}"
    );
}

#[test]
fn what_was_begun_is_not_asked_for_again() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.input.checkpoint =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt-oss-nano").into();
    let needed = || {
        let mut plan = workspace.plan(job.clone());
        let judgements = plan.judge_all().unwrap();
        let disks = plan.demand(&judgements).unwrap().disks;
        assert!(disks.iter().all(|disk| disk.exact), "{disks:?}");
        disks.iter().map(|disk| disk.needed_bytes).sum::<u64>()
    };
    let whole = needed();
    std::fs::create_dir(workspace.path.join("out")).unwrap();
    let out = workspace.path.join("out/f32.gguf");
    let state = State::open(&workspace.path).unwrap();
    std::fs::write(state.mark().partial(&out), [0; 1000]).unwrap();
    assert_eq!(needed(), whole, "a file that nobody will continue");
    let pending = Pending {
        manifest: job.manifest.clone(),
        job: "tiny".into(),
        step: "convert".into(),
        key: "k".into(),
        outputs: vec![out],
    };
    state.set_pending(&pending).unwrap();
    assert_eq!(needed(), whole - 1000);
}

#[test]
fn a_file_of_the_checkpoint_that_is_not_it_blocks_the_plan() {
    let workspace = Workspace::new();
    let state = State::open(&workspace.path).unwrap();
    let weights = workspace.path.join("checkpoint/model.safetensors");
    let stamp = crate::files::Stamp::of(&weights).unwrap().unwrap();
    state.record_digest(&weights, &stamp, &"a".repeat(64)).unwrap();
    let mut job = workspace.job();
    job.input.sha256.insert("model.safetensors".into(), "b".repeat(64));
    let mut plan = workspace.plan(job);
    let judgements = plan.judge_all().unwrap();
    let Verdict::Blocked { problems } = &judgements[0].verdict else {
        panic!("{:?}", judgements[0]);
    };
    assert!(problems[0].contains(&"a".repeat(64)) && problems[0].contains(&"b".repeat(64)));
    let error = admit(&judgements, &plan.demand(&judgements).unwrap()).unwrap_err();
    assert_eq!(error.class, ErrorClass::Input);
}

#[test]
fn another_machine_has_to_measure_for_itself() {
    let workspace = Workspace::new();
    let keys = |host: HostFacts, program: &str| {
        let machine = Machine { host, program: program.into() };
        let plan = Plan::new(workspace.job(), None, machine).unwrap();
        let parameters = |id: &str| plan.inputs_of(plan.graph().find(id).unwrap());
        ["bench:q4_K_M", "load_check:q4_K_M", "quantize:q4_K_M", "evaluate:q4_K_M"].map(parameters)
    };
    let here = keys(host(), "one");
    let there = keys(HostFacts { threads: 1, ..host() }, "one");
    let differ: Vec<bool> = here.iter().zip(&there).map(|(a, b)| a != b).collect();
    assert_eq!(differ, [true, true, false, false]);
    // What changes from minute to minute changes no key.
    assert_eq!(here, keys(HostFacts { load_1m: 9.0, available_ram_bytes: 1, ..host() }, "one"));
    // Another program measures other times, and computes the same.
    let built_anew = keys(host(), "two");
    let differ: Vec<bool> = here.iter().zip(&built_anew).map(|(a, b)| a != b).collect();
    assert_eq!(differ, [true, false, false, false]);
}

#[test]
fn what_is_mapped_at_once_is_added_up() {
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.input.checkpoint =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt-oss-nano").into();
    let mut plan = cold(job);
    let judgements = plan.judge_all().unwrap();
    let demand = plan.demand(&judgements).unwrap();
    let step = |id: &str| &demand.steps[plan.graph().find(id).unwrap()];
    let bytes = |id: &str| step(id).write_bytes.unwrap();
    let (candidate, made) = (bytes("quantize:q4_K_M"), bytes("quantize:ref:quality"));
    let given = "a reference".len() as u64;
    let buffers = 512 << 20;
    for (id, mapped) in [
        ("load_check:q4_K_M", candidate),
        ("bench:ref:quality", made),
        ("compare:q4_K_M:quality", candidate + made),
        ("compare:q4_K_M:stability", candidate + given),
        (
            "evaluate:q4_K_M",
            candidate + bytes("convert") + made + given + crate::steps::evaluate::LOGITS_BYTES,
        ),
    ] {
        assert_eq!(step(id).ram_bytes, Some(mapped + buffers), "{id}");
    }
}

#[test]
fn a_limit_on_the_process_is_told_apart_from_the_machine() {
    use crate::host::memory_limit::MemoryLimit;
    let workspace = Workspace::new();
    let mut job = workspace.job();
    job.host.min_ram = Some(32_000_000_000);
    let limit = MemoryLimit { bytes: 150_000_000, by: "/sys/fs/cgroup/job/memory.max".into() };
    let host = HostFacts { ram_bytes: limit.bytes, memory_limit: Some(limit), ..host() };
    let mut plan = Plan::new(job, None, Machine { host, ..machine() }).unwrap();
    let judgements = plan.judge_all().unwrap();
    let error = admit(&judgements, &plan.demand(&judgements).unwrap()).unwrap_err();
    let expected = "this process has 150.0 MB (as /sys/fs/cgroup/job/memory.max limits it)";
    assert!(error.message.contains(expected), "{error}");
}

#[test]
fn a_plan_says_which_importance_matrix_it_weighs_with() {
    let workspace = Workspace::new();
    let path = workspace.path.join("nano.gguf");
    let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle/nano.imatrix.gguf");
    std::fs::copy(nano, &path).unwrap();
    let mut job = workspace.job();
    for format in &mut job.formats {
        let name = "nano.gguf".into();
        format.spec.imatrix = Some(crate::steps::ImatrixFile { path: (&path).into(), name });
    }
    let said = text(&view(&mut cold(job.clone())));
    let unknown = "importance matrix nano.gguf: SHA-256 not known yet, measured over 20 chunks of ";
    assert_eq!(said.matches(unknown).count(), 1, "{said}");

    let state = State::open(&workspace.path).unwrap();
    let stamp = crate::files::Stamp::of(&path).unwrap().unwrap();
    state.record_digest(&path, &stamp, &"5".repeat(64)).unwrap();
    drop(state);
    let said = text(&view(&mut workspace.plan(job)));
    let known = format!("importance matrix nano.gguf: SHA-256 {}, measured over", "5".repeat(64));
    assert!(said.contains(&known), "{said}");
}
