//! A file is the same however often its writing was interrupted, and whatever became meanwhile of
//! what was there.

use std::sync::Mutex;

use super::super::model::this_program;
use super::*;

/// Interrupts a run at `bytes`, with a journal.
fn interrupted(model: &Model, bytes: u64) -> Place {
    let place = Place::new();
    let cancelled = AtomicBool::new(false);
    let events = StopAt { bytes, cancelled: &cancelled };
    let journals = Some(place.journals.clone());
    let ctx = Context { journals, ..Context::new(&events, &cancelled, 1) };
    let error = place.write(model, &ctx).unwrap_err();
    assert_eq!(error.class, ErrorClass::Interrupted);
    assert!(!place.out.exists());
    place
}

fn resume(place: &Place, model: &Model) -> WriteResult {
    let recorder = Recorder::new();
    let ctx = Context { journals: Some(place.journals.clone()), ..context(&recorder) };
    place.write(model, &ctx).unwrap()
}

#[test]
fn an_interrupted_run_is_continued() {
    let model = Model::new();
    let (expected, result) = whole(&model);
    let total = expected.len() as u64;
    let all: u64 = model.tensors.iter().map(|t| t.rows() as u64).sum();
    for percent in [0, 10, 30, 60, 90] {
        let place = interrupted(&model, total * percent / 100);
        model.rows_read.store(0, Ordering::Relaxed);
        let resumed = resume(&place, &model);
        assert!(fs::read(&place.out).unwrap() == expected, "at {percent}%");
        assert_eq!(resumed.output.sha256, result.output.sha256);
        assert_eq!(resumed.tensors, result.tensors);
        let kept: usize =
            model.tensors[..resumed.resumed_tensors].iter().map(TensorInfo::rows).sum();
        assert_eq!(model.rows_read.load(Ordering::Relaxed), all - kept as u64);
        assert!(percent < 90 || resumed.resumed_tensors >= 3, "{}", resumed.resumed_tensors);
        assert_eq!(place.journals.read_dir_utf8().unwrap().count(), 0);
    }
}

/// Keeps what is said, and stops the step when it says what it does.
struct Listener<'a> {
    said: Mutex<Vec<Event>>,
    cancelled: &'a AtomicBool,
    stop: bool,
}

impl EventSink for Listener<'_> {
    fn emit(&self, event: Event) {
        if self.stop && matches!(event, Event::Stage { .. }) {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        self.said.lock().unwrap().push(event);
    }
}

/// Goes on in `place`; answers with how that went and what was said.
fn listened(
    place: &Place,
    model: &Model,
    stop: bool,
) -> (Result<WriteResult, StepError>, Vec<Event>) {
    let cancelled = AtomicBool::new(false);
    let listener = Listener { said: Mutex::default(), cancelled: &cancelled, stop };
    let journals = Some(place.journals.clone());
    let ctx = Context { journals, ..Context::new(&listener, &cancelled, 1) };
    let result = place.write(model, &ctx);
    (result, listener.said.into_inner().unwrap())
}

#[test]
fn what_is_checked_is_told_and_is_no_progress_of_the_work() {
    let model = Model::new();
    let total = whole(&model).0.len() as u64;
    let place = interrupted(&model, total * 60 / 100);
    let (result, said) = listened(&place, &model, false);
    assert!(result.unwrap().resumed_tensors >= 3);
    let stage = |event: &Event| match event {
        Event::Stage { doing } => Some(doing.clone()),
        _ => None,
    };
    let stages: Vec<_> = said.iter().filter_map(stage).collect();
    let [Some(doing), None] = stages.as_slice() else { panic!("{stages:?}") };
    assert!(doing.starts_with("checking ") && doing.ends_with(" already written"), "{doing}");
    let before: Vec<&Event> = said.iter().skip(1).take_while(|e| stage(e).is_none()).collect();
    assert!(stage(&said[0]).is_some() && !before.is_empty());
    assert!(before.iter().all(|e| matches!(e, Event::Progress { total: of, .. } if *of < total)));

    let (_, said) = listened(&Place::new(), &model, false);
    assert!(said.iter().all(|e| stage(e).is_none()), "there is nothing to check");
}

/// Puts something in the place of the file once all of it is written.
struct TakesTheName<'a>(&'a Place);

impl EventSink for TakesTheName<'_> {
    fn emit(&self, event: Event) {
        if let Event::Progress { done, total, .. } = event
            && done == total
        {
            let _ = fs::create_dir(&self.0.out);
        }
    }
}

#[test]
fn a_finished_file_that_cannot_have_its_name_is_kept_and_only_named_by_the_next_run() {
    let model = Model::new();
    let (expected, _) = whole(&model);
    let place = Place::new();
    let (running, events) = (AtomicBool::new(false), TakesTheName(&place));
    let journals = Some(place.journals.clone());
    let ctx = Context { journals, ..Context::new(&events, &running, 2) };
    assert!(place.write(&model, &ctx).is_err());
    fs::remove_dir(&place.out).unwrap();
    model.rows_read.store(0, Ordering::Relaxed);
    let resumed = resume(&place, &model);
    assert_eq!(resumed.resumed_tensors, model.tensors.len());
    assert_eq!(model.rows_read.load(Ordering::Relaxed), 0);
    assert!(fs::read(&place.out).unwrap() == expected);
}

#[test]
fn an_interrupt_while_checking_loses_nothing() {
    let model = Model::new();
    let (expected, _) = whole(&model);
    let place = interrupted(&model, expected.len() as u64 * 60 / 100);
    let (partial, journal) = (Mark::default().partial(&place.out), place.journal());
    let before = (fs::read(&partial).unwrap(), fs::read(&journal).unwrap());
    let (result, _) = listened(&place, &model, true);
    assert_eq!(result.unwrap_err().class, ErrorClass::Interrupted);
    assert!((fs::read(&partial).unwrap(), fs::read(&journal).unwrap()) == before);
    assert!(resume(&place, &model).resumed_tensors >= 3);
    assert!(fs::read(&place.out).unwrap() == expected);
}

#[test]
fn what_a_kill_left_is_checked_not_trusted() {
    let model = Model::new();
    let (expected, _) = whole(&model);
    let total = expected.len() as u64;
    /// Damages what a run left: the unfinished file and the journal.
    type Damage = fn(&mut Vec<u8>, &mut Vec<u8>);
    /// Tensors that count afterwards, of those noted.
    type Expected = fn(usize) -> usize;
    let damages: &[(&str, Damage, Expected)] = &[
        ("file cut inside the header", |file, _| file.truncate(10), |_| 0),
        ("file cut inside tensor 1", |file, _| file.truncate(100_000), |_| 1),
        ("file longer than noted", |file, _| file.extend([7; 1000]), |noted| noted),
        ("a byte of tensor 1 changed", |file, _| file[5000] ^= 1, |_| 1),
        ("header changed", |file, _| file[40] ^= 1, |_| 0),
        ("file gone", |file, _| file.clear(), |_| 0),
        ("journal torn", |_, j| j.truncate(j.len() - 9), |noted| noted - 1),
        ("journal empty", |_, j| j.clear(), |_| 0),
        ("journal garbage", |_, j| j.fill(0xff), |_| 0),
        ("journal of zeros behind", |_, j| j.extend([0; 4096]), |noted| noted),
        ("journal without its header", |_, j| drop(j.drain(..10)), |_| 0),
        (
            "journal without its first tensor",
            |_, j| {
                let line = |j: &[u8]| j.iter().position(|&b| b == b'\n').unwrap() + 1;
                let first = line(j);
                let second = first + line(&j[first..]);
                drop(j.drain(first..second));
            },
            |_| 0,
        ),
    ];
    for (what, damage, expected_tensors) in damages {
        let place = interrupted(&model, total * 60 / 100);
        let (partial, journal) = (Mark::default().partial(&place.out), place.journal());
        let mut file = fs::read(&partial).unwrap();
        let mut text = fs::read(&journal).unwrap();
        let noted = text.iter().filter(|&&b| b == b'\n').count() - 1;
        assert!(noted >= 3, "{noted}");
        damage(&mut file, &mut text);
        fs::write(&partial, file).unwrap();
        fs::write(&journal, text).unwrap();
        let result = resume(&place, &model);
        assert!(fs::read(&place.out).unwrap() == expected, "{what}");
        assert_eq!(result.resumed_tensors, expected_tensors(noted), "{what}");
    }
}

#[test]
fn another_source_or_other_types_start_anew() {
    let mut model = Model::new();
    let place = interrupted(&model, 200_000);
    let recorder = Recorder::new();
    let ctx = Context { journals: Some(place.journals.clone()), ..context(&recorder) };
    assert_eq!(place.write_as(&model, "another source", &ctx).unwrap().resumed_tensors, 0);

    let place = interrupted(&model, 200_000);
    model.metadata.set("general.name", Value::String("another name".into()));
    assert_eq!(resume(&place, &model).resumed_tensors, 0);
    assert!(fs::read(&place.out).unwrap() == whole(&model).0);
}

#[test]
fn another_build_continues_nothing() {
    let model = Model::new();
    let place = Place::new();
    let (recorder, same) = (Recorder::new(), || Ok(String::new()));
    let ctx = context(&recorder);
    let file = place.file(&model, &[], &same, &ctx);
    let layout = Layout::new(&model.metadata, &[]).unwrap();
    assert_eq!(
        file.digest("", &layout, &this_program()),
        file.digest("", &layout, &this_program())
    );
    assert_ne!(
        file.digest("", &layout, &this_program()),
        file.digest("", &layout, "another build")
    );
    // More than the version, which a change of code leaves as it is.
    assert!(this_program().len() > env!("CARGO_PKG_VERSION").len() + 1);
}

#[test]
fn an_interrupted_model_in_parts_is_continued() {
    let model = Model::new();
    let targets = model.targets();
    let write = |place: &Place, ctx: &Context<'_>| {
        let same = || Ok("source".to_owned());
        let split = Some(200_000);
        NewModel { split, ..place.file(&model, &targets, &same, ctx) }.write()
    };
    let whole = write(&Place::new(), &context(&Recorder::new())).unwrap();
    let digests = |result: &WriteResult| -> Vec<(u64, String)> {
        result.parts.iter().map(|part| (part.bytes, part.sha256.clone())).collect()
    };
    assert_eq!(whole.parts.len(), 4, "{:?}", digests(&whole));
    for percent in [10, 30, 60, 90] {
        let place = Place::new();
        let cancelled = AtomicBool::new(false);
        let events = StopAt { bytes: whole.bytes() * percent / 100, cancelled: &cancelled };
        let journals = Some(place.journals.clone());
        let ctx = Context { journals, ..Context::new(&events, &cancelled, 1) };
        assert_eq!(write(&place, &ctx).unwrap_err().class, ErrorClass::Interrupted);
        model.rows_read.store(0, Ordering::Relaxed);
        let recorder = Recorder::new();
        let ctx = Context { journals: Some(place.journals.clone()), ..context(&recorder) };
        let resumed = write(&place, &ctx).unwrap();
        assert_eq!(digests(&resumed), digests(&whole), "at {percent}%");
        assert_eq!(resumed.tensors, whole.tensors);
        check_hashes(&resumed.output.path, &resumed.tensors);
        let read = model.rows_read.load(Ordering::Relaxed);
        let all: u64 = model.tensors.iter().map(|t| t.rows() as u64).sum();
        assert!(percent < 60 || (resumed.resumed_tensors > 0 && read < all), "at {percent}%");
        for part in &resumed.parts {
            let bytes = fs::read(&part.path).unwrap();
            assert_eq!(hex::encode(Sha256::digest(&bytes)), part.sha256);
        }
        let file = File::open(&resumed.parts[2].path).unwrap();
        assert_eq!(file.tensors(), infos(&model, &targets));
        assert_eq!(place.journals.read_dir_utf8().unwrap().count(), 0);
    }
}
