//! The kinds of step: their names, their versions, and which files each reads and writes.

use camino::Utf8PathBuf;
use serde_json::Value;

use super::{
    ErrorClass, PublishResult, PublishedBy, ReportResult, StepError, StepSpec, VerifyResult,
    WriteResult,
};
use super::{convert, quantize};
use crate::files::FileDigest;

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepKind {
    Verify,
    Convert,
    Quantize,
    LoadCheck,
    Bench,
    BenchPair,
    Evaluate,
    Compare,
    Report,
    Publish,
}

impl StepKind {
    /// The name in step ids and in the specification's `kind`.
    pub fn name(self) -> &'static str {
        match self {
            StepKind::Verify => "verify",
            StepKind::Convert => "convert",
            StepKind::Quantize => "quantize",
            StepKind::LoadCheck => "load_check",
            StepKind::Bench => "bench",
            StepKind::BenchPair => "bench_pair",
            StepKind::Evaluate => "evaluate",
            StepKind::Compare => "compare",
            StepKind::Report => "report",
            StepKind::Publish => "publish",
        }
    }

    /// Goes up when the kind's output for the same inputs changes, so that no older result of it
    /// counts any more.
    pub fn version(self) -> u32 {
        match self {
            // 2: a chat template with the built-in vocabulary; all that the model card says.
            StepKind::Convert => 2,
            // 2: q5_K cuts the levels of its scales where importance is known, too.
            // 3: as for `Convert`.
            StepKind::Quantize => 3,
            // 2: other kernels, whose activations have scales in single precision for every 32.
            // 3: rows of floats are summed in sixteen lanes with AVX-512.
            // 4: the gate of an expert by an exponential of vectors.
            // 5: marks of messages in a corpus are tokens; more keys of a file's are obeyed.
            StepKind::Evaluate | StepKind::Compare => 5,
            // 2: refuses and warns of more.
            StepKind::LoadCheck => 2,
            // 2: bytes per token, bandwidth, clocks, faults of each run.
            // 3, 4, 5: a faster engine, whose times do not compare with the older ones'.
            StepKind::Bench => 5,
            // 2, 3, 4: as for `Bench`.
            StepKind::BenchPair => 4,
            // 2: says how each file came to its place, and what was left out.
            StepKind::Publish => 2,
            _ => 1,
        }
    }
}

impl StepSpec {
    /// Which kind it is.
    pub fn kind(&self) -> StepKind {
        match self {
            StepSpec::Verify(_) => StepKind::Verify,
            StepSpec::Convert(_) => StepKind::Convert,
            StepSpec::Quantize(_) => StepKind::Quantize,
            StepSpec::LoadCheck(_) => StepKind::LoadCheck,
            StepSpec::Bench(_) => StepKind::Bench,
            StepSpec::BenchPair(_) => StepKind::BenchPair,
            StepSpec::Evaluate(_) => StepKind::Evaluate,
            StepSpec::Compare(_) => StepKind::Compare,
            StepSpec::Report(_) => StepKind::Report,
            StepSpec::Publish(_) => StepKind::Publish,
        }
    }
}

/// The model files that a step writes, under their final names; of parts the headers of what it reads
/// say how many. What a report or a publication writes is known from its result only.
///
/// # Errors
/// Those of the step, as far as headers tell.
pub fn model_outputs(spec: &StepSpec) -> Result<Vec<Utf8PathBuf>, StepError> {
    match spec {
        StepSpec::Convert(spec) => convert::output_paths(spec),
        StepSpec::Quantize(spec) => quantize::output_paths(spec),
        _ => Ok(Vec::new()),
    }
}

/// The files that a finished step wrote.
///
/// # Errors
/// If `result` is not what the kind gives.
pub fn outputs(kind: StepKind, result: &Value) -> Result<Vec<FileDigest>, StepError> {
    match kind {
        StepKind::Convert | StepKind::Quantize => {
            Ok(parse::<WriteResult>(kind, result)?.files().to_vec())
        }
        StepKind::Report => {
            let ReportResult { markdown, json, logs, .. } = parse(kind, result)?;
            Ok([vec![markdown], json, logs].concat())
        }
        StepKind::Publish => {
            let PublishResult { files, sha256_list, .. } = parse(kind, result)?;
            Ok(files.into_iter().map(|published| published.file).chain(sha256_list).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// Of the files that a finished step wrote those that are worth nothing if it turns out that what
/// it read changed meanwhile: nothing shows on them what they are.
///
/// # Errors
/// If `result` is not what the kind gives.
pub fn made_of_inputs(kind: StepKind, result: &Value) -> Result<Vec<Utf8PathBuf>, StepError> {
    match kind {
        StepKind::Convert | StepKind::Quantize => {
            let written: WriteResult = parse(kind, result)?;
            Ok(written.files().iter().map(|file| file.path.clone()).collect())
        }
        // A copy was held against its digest while it was made; a reflink was not read.
        StepKind::Publish => {
            let PublishResult { files, .. } = parse(kind, result)?;
            let unread = files.into_iter().filter(|f| f.made == PublishedBy::Reflink);
            Ok(unread.map(|published| published.file.path).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// The bytes that a finished step wrote.
///
/// # Errors
/// If `result` is not what the kind gives.
pub fn written_bytes(kind: StepKind, result: &Value) -> Result<u64, StepError> {
    match kind {
        StepKind::Publish => Ok(parse::<PublishResult>(kind, result)?.written_bytes),
        _ => Ok(outputs(kind, result)?.iter().map(|output| output.bytes).sum()),
    }
}

/// What else is to be said of a finished step, in a few words.
///
/// # Errors
/// If `result` is not what the kind gives.
pub fn remark(kind: StepKind, result: &Value) -> Result<Option<String>, StepError> {
    match kind {
        StepKind::Publish => Ok(Some(parse::<PublishResult>(kind, result)?.to_string())),
        _ => Ok(None),
    }
}

/// The files that a finished step read whole, with the digests it found.
///
/// # Errors
/// If `result` is not what the kind gives.
pub fn hashed_inputs(kind: StepKind, result: &Value) -> Result<Vec<FileDigest>, StepError> {
    match kind {
        StepKind::Verify => Ok(parse::<VerifyResult>(kind, result)?.files),
        _ => Ok(Vec::new()),
    }
}

fn parse<T: serde::de::DeserializeOwned>(kind: StepKind, result: &Value) -> Result<T, StepError> {
    serde::Deserialize::deserialize(result).map_err(|e: serde_json::Error| {
        StepError::new(
            ErrorClass::Step,
            format!("the result of {} is not what that kind gives: {e}", kind.name()),
        )
    })
}
