//! A file is the same however often its writing was interrupted, on however many threads; bad
//! weights are named, and a failure leaves nothing that looks finished.

use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use camino::Utf8PathBuf;

use super::*;
use crate::gguf::{File, SourceError, Value};
use crate::steps::testing::{Recorder, context};
use crate::steps::{Event, EventSink, partial_path};

/// Columns of every matrix of [`Model`].
const COLUMNS: usize = 256;

/// f32 tensors of unlike sizes, counted when they are read.
struct Model {
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    data: Vec<Vec<u8>>,
    rows_read: AtomicU64,
}

impl Model {
    fn new() -> Self {
        let mut metadata = Metadata::default();
        metadata.set("general.architecture", Value::String("test".into()));
        let mut state = 1u32;
        let (mut tensors, mut data) = (Vec::new(), Vec::new());
        for (i, rows) in [1u64, 700, 3, 64, 2000, 1, 5].into_iter().enumerate() {
            let info = TensorInfo {
                name: format!("tensor.{i}"),
                ggml_type: GgmlType::F32,
                shape: vec![COLUMNS as u64, rows],
            };
            let values = (0..info.elements()).flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as f32 / u32::MAX as f32 - 0.5).to_le_bytes()
            });
            data.push(values.collect());
            tensors.push(info);
        }
        Self { metadata, tensors, data, rows_read: AtomicU64::new(0) }
    }

    fn targets(&self) -> Vec<Target> {
        let types = [GgmlType::F32, GgmlType::Q8_0, GgmlType::Q4_K].into_iter().cycle();
        types
            .zip(0..self.tensors.len())
            .map(|(ggml_type, source)| Target { source, ggml_type })
            .collect()
    }

    fn set(&mut self, tensor: usize, index: usize, value: f32) {
        self.data[tensor][index * 4..][..4].copy_from_slice(&value.to_le_bytes());
    }
}

impl TensorSource for Model {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read_rows(&self, t: usize, rows: Range<usize>, out: &mut [u8]) -> Result<(), SourceError> {
        self.rows_read.fetch_add(rows.len() as u64, Ordering::Relaxed);
        out.copy_from_slice(&self.data[t][rows.start * COLUMNS * 4..rows.end * COLUMNS * 4]);
        Ok(())
    }

    fn bytes(&self, _: usize) -> Option<&[u8]> {
        None
    }
}

struct Place {
    _guard: tempfile::TempDir,
    out: Utf8PathBuf,
    journals: Utf8PathBuf,
}

impl Place {
    fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let directory = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        Self { _guard: guard, out: directory.join("out.gguf"), journals: directory.join("j") }
    }

    fn write(&self, model: &Model, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
        self.write_as(model, "source", ctx)
    }

    fn write_as(
        &self,
        model: &Model,
        identity: &str,
        ctx: &Context<'_>,
    ) -> Result<WriteResult, StepError> {
        let targets = model.targets();
        let file = ModelFile {
            source: model,
            metadata: &model.metadata,
            targets: &targets,
            out: &self.out,
            replace: false,
            identity: &|| Ok(identity.to_owned()),
            importance: None,
            flush_bytes: 0,
        };
        file.write(ctx)
    }

    fn journal(&self) -> Utf8PathBuf {
        let mut entries = self.journals.read_dir_utf8().unwrap();
        entries.next().unwrap().unwrap().into_path()
    }
}

/// Stops the step once so many bytes are written.
struct StopAt<'a> {
    bytes: u64,
    cancelled: &'a AtomicBool,
}

impl EventSink for StopAt<'_> {
    fn emit(&self, event: Event) {
        if let Event::Progress { done, .. } = event
            && done >= self.bytes
        {
            self.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

/// The file as it is without interruption.
fn whole(model: &Model) -> (Vec<u8>, WriteResult) {
    let place = Place::new();
    let result = place.write(model, &context(&Recorder::new())).unwrap();
    (fs::read(&place.out).unwrap(), result)
}

/// Interrupts a run at `bytes`, with a journal.
fn interrupted(model: &Model, bytes: u64) -> Place {
    let place = Place::new();
    let cancelled = AtomicBool::new(false);
    let events = StopAt { bytes, cancelled: &cancelled };
    let journals = Some(place.journals.clone());
    let ctx = Context { events: &events, cancelled: &cancelled, threads: 1, journals };
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
fn reads_back_the_same_on_any_number_of_threads() {
    let model = Model::new();
    let (expected, result) = whole(&model);
    assert_eq!(result.output.sha256, hex::encode(Sha256::digest(&expected)));
    for threads in [1, 3, 8] {
        let place = Place::new();
        place.write(&model, &Context { threads, ..context(&Recorder::new()) }).unwrap();
        assert!(fs::read(&place.out).unwrap() == expected, "{threads} threads");
        let file = File::open(&place.out).unwrap();
        assert_eq!(file.tensors(), infos(&model, &model.targets()));
        for (i, written) in result.tensors.iter().enumerate() {
            assert_eq!(written.sha256, hex::encode(Sha256::digest(file.data(i))));
        }
        assert!(!partial_path(&place.out).exists());
    }
    let bits = result.tensors.iter().map(|t| t.bytes as f64 * 8.0).sum::<f64>();
    let weights: u64 = model.tensors.iter().map(TensorInfo::elements).sum();
    assert_eq!(result.bits_per_weight, bits / weights as f64);
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
        let (partial, journal) = (partial_path(&place.out), place.journal());
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
fn weights_that_are_not_finite_are_named() {
    // Tensor 1 becomes q8_0; tensor 3 is copied.
    for (tensor, expected) in
        [(1, "row 650, column 9 is NaN"), (3, "row 50 is not finite from column 9")]
    {
        let mut model = Model::new();
        let row = if tensor == 1 { 650 } else { 50 };
        model.set(tensor, row * COLUMNS + 9, f32::NAN);
        // A later one is not the one to be named.
        model.set(tensor, (row + 10) * COLUMNS, f32::INFINITY);
        let place = Place::new();
        let recorder = Recorder::new();
        let ctx = Context { journals: Some(place.journals.clone()), ..context(&recorder) };
        let error = place.write(&model, &ctx).unwrap_err();
        assert_eq!(error.class, ErrorClass::Input);
        assert!(error.message.contains(&format!("tensor tensor.{tensor}: {expected}")), "{error}");
        assert!(!place.out.exists() && !partial_path(&place.out).exists());
        assert_eq!(place.journals.read_dir_utf8().unwrap().count(), 0);
    }
}

#[test]
fn a_type_without_its_importance_is_refused_before_anything_is_written() {
    let model = Model::new();
    let place = Place::new();
    let targets = [Target { source: 0, ggml_type: GgmlType::IQ1_S }];
    let file = ModelFile {
        source: &model,
        metadata: &model.metadata,
        targets: &targets,
        out: &place.out,
        replace: false,
        identity: &|| Ok(String::new()),
        importance: None,
        flush_bytes: 0,
    };
    let error = file.write(&context(&Recorder::new())).unwrap_err();
    let expected = "tensor tensor.0: iq1_s cannot be had without an importance matrix";
    assert!(error.message.contains(expected), "{error}");
    assert!(!partial_path(&place.out).exists());
}

#[test]
fn another_build_continues_nothing() {
    let model = Model::new();
    let place = Place::new();
    let file = ModelFile {
        source: &model,
        metadata: &model.metadata,
        targets: &[],
        out: &place.out,
        replace: false,
        identity: &|| Ok(String::new()),
        importance: None,
        flush_bytes: 0,
    };
    let layout = Layout::new(&model.metadata, &[]).unwrap();
    assert_eq!(file.digest("", &layout, &program()), file.digest("", &layout, &program()));
    assert_ne!(file.digest("", &layout, &program()), file.digest("", &layout, "another build"));
    // More than the version, which a change of code leaves as it is.
    assert!(program().len() > env!("CARGO_PKG_VERSION").len() + 1);
}

#[test]
fn without_a_journal_nothing_stays_behind() {
    let model = Model::new();
    let place = Place::new();
    let cancelled = AtomicBool::new(false);
    let events = StopAt { bytes: 200_000, cancelled: &cancelled };
    let ctx = Context { events: &events, cancelled: &cancelled, threads: 2, journals: None };
    assert_eq!(place.write(&model, &ctx).unwrap_err().class, ErrorClass::Interrupted);
    assert!(!place.out.exists() && !partial_path(&place.out).exists());
}

/// The files of [`several`]: types of the tensors, from the first on and again.
const MIXES: [&[GgmlType]; 3] = [
    &[GgmlType::F32, GgmlType::Q8_0, GgmlType::Q4_K],
    &[GgmlType::Q8_0],
    &[GgmlType::F32, GgmlType::Q4_K, GgmlType::Q4_K, GgmlType::Q8_0],
];

/// Writes every mix of [`MIXES`] in one pass, as `0.gguf` and so on beside the place's file.
fn several(
    place: &Place,
    source: &dyn TensorSource,
    identity: &(dyn Fn() -> Result<String, StepError> + Sync),
    ctx: &Context<'_>,
) -> Result<Vec<WriteResult>, StepError> {
    let targets = MIXES.map(|types| -> Vec<Target> {
        let types = types.iter().copied().cycle();
        types
            .zip(0..source.tensors().len())
            .map(|(ggml_type, source)| Target { source, ggml_type })
            .collect()
    });
    let outs = [0, 1, 2].map(|i| place.out.with_file_name(format!("{i}.gguf")));
    let files = targets.iter().zip(&outs).map(|(targets, out)| ModelFile {
        source,
        metadata: source.metadata(),
        targets,
        out,
        replace: true,
        identity,
        importance: None,
        flush_bytes: 0,
    });
    write_all(&files.collect::<Vec<_>>(), ctx)
}

#[test]
fn files_of_one_pass_are_those_of_many_whatever_was_there_before() {
    let model = Model::new();
    let same = || Ok("source".to_owned());
    let place = Place::new();
    let recorder = Recorder::new();
    let expected = several(&place, &model, &same, &context(&recorder)).unwrap();
    // Read once to be quantized, whatever the number of types, and once where it is copied.
    let reads = |(i, info): (usize, &TensorInfo)| {
        let copied = MIXES.iter().any(|types| types[i % types.len()] == GgmlType::F32);
        info.rows() as u64 * (1 + u64::from(copied))
    };
    let rows: u64 = model.tensors.iter().enumerate().map(reads).sum();
    assert_eq!(model.rows_read.load(Ordering::Relaxed), rows);
    let (alone, result) = whole(&model);
    assert!(fs::read(place.out.with_file_name("0.gguf")).unwrap() == alone);
    assert_eq!(result.tensors, expected[0].tensors);
    for result in &expected {
        let bytes = fs::read(&result.output.path).unwrap();
        assert_eq!(result.output.sha256, hex::encode(Sha256::digest(&bytes)));
        let file = File::open(&result.output.path).unwrap();
        for (i, written) in result.tensors.iter().enumerate() {
            assert_eq!(written.sha256, hex::encode(Sha256::digest(file.data(i))));
        }
    }

    // Interrupted, and one of the unfinished files lost.
    for lost in 0..3 {
        let place = Place::new();
        let cancelled = AtomicBool::new(false);
        let events = StopAt { bytes: 900_000, cancelled: &cancelled };
        let journals = Some(place.journals.clone());
        let ctx = Context { events: &events, cancelled: &cancelled, threads: 3, journals };
        let error = several(&place, &model, &same, &ctx).unwrap_err();
        assert_eq!(error.class, ErrorClass::Interrupted);
        let gone = place.out.with_file_name(format!("{lost}.gguf"));
        fs::remove_file(partial_path(&gone)).unwrap();

        let ctx = Context { journals: Some(place.journals.clone()), ..context(&recorder) };
        let results = several(&place, &model, &same, &ctx).unwrap();
        for (i, (result, expected)) in results.iter().zip(&expected).enumerate() {
            assert_eq!(result.output.sha256, expected.output.sha256);
            assert_eq!(result.tensors, expected.tensors);
            assert_eq!(result.resumed_tensors == 0, i == lost, "{}", result.resumed_tensors);
        }
    }
}

#[test]
fn what_stays_as_it_is_is_copied_from_the_file_itself() {
    let model = Model::new();
    let place = Place::new();
    let recorder = Recorder::new();
    place.write(&model, &context(&recorder)).unwrap();
    let source = File::open(&place.out).unwrap();
    let copy = Place::new();
    let results = several(&copy, &source, &|| Ok(String::new()), &context(&recorder)).unwrap();
    assert!(fs::read(&results[0].output.path).unwrap() == fs::read(&place.out).unwrap());
}

#[test]
fn an_input_that_changes_meanwhile_is_an_error() {
    let model = Model::new();
    let place = Place::new();
    let asked = AtomicU64::new(0);
    let identity = || Ok(asked.fetch_add(1, Ordering::Relaxed).to_string());
    let recorder = Recorder::new();
    let ctx = Context { journals: Some(place.journals.clone()), ..context(&recorder) };
    let targets = model.targets();
    let file = ModelFile {
        source: &model,
        metadata: &model.metadata,
        targets: &targets,
        out: &place.out,
        replace: false,
        identity: &identity,
        importance: None,
        flush_bytes: 0,
    };
    let error = file.write(&ctx).unwrap_err();
    assert_eq!(error.class, ErrorClass::Input);
    assert!(error.message.contains("was changed while it was read"), "{error}");
    assert!(!place.out.exists() && !partial_path(&place.out).exists());
}
