//! The kinds of step: their names, their versions, and which files each reads and writes.

use serde_json::Value;

use super::{
    ErrorClass, FileDigest, PublishResult, ReportResult, StepError, StepSpec, VerifyResult,
    WriteResult,
};

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
            // 2: q5_K cuts the levels of its scales where importance is known, too.
            StepKind::Quantize => 2,
            // 2: other kernels, whose activations have scales in single precision for every 32.
            // 3: rows of floats are summed in sixteen lanes with AVX-512.
            // 4: the gate of an expert by an exponential of vectors.
            StepKind::Evaluate | StepKind::Compare => 4,
            // 2: bytes per token, bandwidth, clocks, faults of each run.
            // 3, 4, 5: a faster engine, whose times do not compare with the older ones'.
            StepKind::Bench => 5,
            // 2, 3, 4: as for `Bench`.
            StepKind::BenchPair => 4,
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

/// The model files that a step writes, under their final names. What a report or a publication
/// writes is known from its result only.
pub fn model_output(spec: &StepSpec) -> Option<&camino::Utf8Path> {
    match spec {
        StepSpec::Convert(spec) => Some(&spec.out),
        StepSpec::Quantize(spec) => Some(&spec.out),
        _ => None,
    }
}

/// The files that a finished step wrote.
///
/// # Errors
/// If `result` is not what the kind gives.
pub fn outputs(kind: StepKind, result: &Value) -> Result<Vec<FileDigest>, StepError> {
    match kind {
        StepKind::Convert | StepKind::Quantize => {
            Ok(vec![parse::<WriteResult>(kind, result)?.output])
        }
        StepKind::Report => {
            let ReportResult { markdown, json, logs, .. } = parse(kind, result)?;
            Ok([vec![markdown], json, logs].concat())
        }
        StepKind::Publish => {
            let PublishResult { mut files, sha256_list } = parse(kind, result)?;
            files.extend(sha256_list);
            Ok(files)
        }
        _ => Ok(Vec::new()),
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
