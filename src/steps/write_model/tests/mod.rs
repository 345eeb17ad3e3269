//! A file is the same on any number of threads; bad weights are named, and a failure leaves nothing
//! that looks finished.

mod resume;
mod several;

use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::*;
use crate::files::Mark;
use crate::ggml::GgmlType;
use crate::gguf::{File, Layout, Metadata, SourceError, TensorInfo, TensorSource, Value};
use crate::steps::testing::{Recorder, context};
use crate::steps::{Context, ErrorClass, Event, EventSink, WrittenTensor};

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
            let shape = [COLUMNS as u64, rows];
            let info = TensorInfo::new(format!("tensor.{i}"), GgmlType::F32, shape);
            let values = (0..info.elements()).flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as f32 / u32::MAX as f32 - 0.5).to_le_bytes()
            });
            data.push(values.collect());
            tensors.push(info);
        }
        Self { metadata, tensors, data, rows_read: AtomicU64::new(0) }
    }

    fn targets(&self) -> Vec<NewTensor> {
        let types = [GgmlType::F32, GgmlType::Q8_0, GgmlType::Q4_K].into_iter().cycle();
        types
            .zip(0..self.tensors.len())
            .map(|(ty, source)| NewTensor { source, ggml_type: ty.into() })
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
        self.file(model, &targets, &|| Ok(identity.to_owned()), ctx).write()
    }

    fn file<'a>(
        &'a self,
        model: &'a Model,
        targets: &'a [NewTensor],
        identity: &'a (dyn Fn() -> Result<String, StepError> + Sync),
        ctx: &'a Context<'a>,
    ) -> NewModel<'a> {
        NewModel {
            source: model,
            metadata: &model.metadata,
            tensors: targets,
            out: &self.out,
            split: None,
            replace: false,
            identity,
            importance: None,
            hash_tensors: true,
            flush_bytes: 0,
            ctx,
        }
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

/// Every tensor has the hash of its data in the file at `path`.
fn check_hashes(path: &Utf8Path, tensors: &[WrittenTensor]) {
    let file = File::open(path).unwrap();
    for tensor in tensors {
        let data = file.data(file.find(&tensor.name).unwrap());
        assert_eq!(data.len() as u64, tensor.bytes);
        assert_eq!(tensor.sha256, Some(hex::encode(Sha256::digest(data))), "{}", tensor.name);
    }
}

#[test]
fn reads_back_the_same_on_any_number_of_threads() {
    let model = Model::new();
    let (expected, result) = whole(&model);
    assert_eq!(result.output.sha256, hex::encode(Sha256::digest(&expected)));
    for threads in [1, 3, 8] {
        let place = Place::new();
        let result =
            place.write(&model, &Context { threads, ..context(&Recorder::new()) }).unwrap();
        assert!(fs::read(&place.out).unwrap() == expected, "{threads} threads");
        check_hashes(&place.out, &result.tensors);
        let file = File::open(&place.out).unwrap();
        assert_eq!(file.tensors(), infos(&model, &model.targets()));
        assert!(!Mark::default().partial(&place.out).exists());
    }
    let bits = result.tensors.iter().map(|t| t.bytes as f64 * 8.0).sum::<f64>();
    let weights: u64 = model.tensors.iter().map(TensorInfo::elements).sum();
    assert_eq!(result.bits_per_weight, bits / weights as f64);
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
        assert!(!place.out.exists() && !Mark::default().partial(&place.out).exists());
        assert_eq!(place.journals.read_dir_utf8().unwrap().count(), 0);
    }
}

#[test]
fn a_type_without_its_importance_is_refused_before_anything_is_written() {
    let model = Model::new();
    let place = Place::new();
    let targets = [NewTensor { source: 0, ggml_type: GgmlType::IQ1_S.into() }];
    let (recorder, same) = (Recorder::new(), || Ok(String::new()));
    let error = place.file(&model, &targets, &same, &context(&recorder)).write().unwrap_err();
    let expected = "tensor tensor.0: iq1_s cannot be had without an importance matrix";
    assert!(error.message.contains(expected), "{error}");
    assert!(!Mark::default().partial(&place.out).exists());
}

#[test]
fn without_a_journal_nothing_stays_behind() {
    let model = Model::new();
    let place = Place::new();
    let cancelled = AtomicBool::new(false);
    let events = StopAt { bytes: 200_000, cancelled: &cancelled };
    let ctx = Context::new(&events, &cancelled, 2);
    assert_eq!(place.write(&model, &ctx).unwrap_err().class, ErrorClass::Interrupted);
    assert!(!place.out.exists() && !Mark::default().partial(&place.out).exists());
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
    let error = place.file(&model, &targets, &identity, &ctx).write().unwrap_err();
    assert_eq!(error.class, ErrorClass::Input);
    assert!(error.message.contains("was changed while it was read"), "{error}");
    assert!(!place.out.exists() && !Mark::default().partial(&place.out).exists());
}
