//! What every kind of step says of itself. Knows neither the kinds nor the graph that orders steps.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, ErrorClass, FileRef, ModelWork, Out, Quantizer, StepError, Work};
use crate::files::FileDigest;
use crate::gguf::TensorSource;

/// What a step leaves of the machine to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Hardly anything is taken: beside everything but a measurement.
    Light,
    /// All cores: one at a time.
    Heavy,
    /// It measures: nothing beside it.
    Alone,
}

/// What of the host a step's result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependsOn {
    Nothing,
    /// The machine and its system.
    Machine,
    /// These, and this very program: times of two programs are no measure of two files.
    MachineAndProgram,
}

/// When a step has taken too long, and what to say then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeLimit {
    pub after: Duration,
    /// Where the limit comes from, for example `load_check.timeout`.
    pub setting: String,
}

/// A model file that a step is going to write, as far as headers tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Length of the file, or of all its parts.
    pub bytes: u64,
    /// What it makes a machine do, where it is still to be written.
    pub work: Option<ModelWork>,
    /// Weights that are dequantized to write it.
    pub dequantize: u64,
    /// Weights that are quantized to write it.
    pub quantize: BTreeMap<Quantizer, u64>,
    /// What the step will warn of.
    pub warnings: Vec<String>,
}

/// The description of a step: a value that can be written down, and that says itself what the step
/// asks for and how it is done.
pub trait Step: Serialize + DeserializeOwned {
    type Output: Serialize + DeserializeOwned;

    /// Its name, in step ids and in the description's `kind`.
    const KIND: &'static str;

    /// Goes up when the output for the same inputs changes, so that no older result counts any more.
    const VERSION: u32;

    const LOAD: Load = Load::Heavy;

    const DEPENDS_ON: DependsOn = DependsOn::Nothing;

    /// Does the step.
    ///
    /// # Errors
    /// The step's own; [`ErrorClass::Interrupted`] when the context says stop.
    fn run(&self, ctx: &Context<'_>) -> Result<Self::Output, StepError>;

    /// What it shares with other steps of its kind, in some canonical form: those that answer the same
    /// are best done together, by [`Step::run_all`]. `None`: each by itself.
    fn shares(&self) -> Option<String> {
        None
    }

    /// Does steps that share something; each has its own result, the same as if it were done alone.
    fn run_all(steps: &[(&Self, &Context<'_>)]) -> Vec<Result<Self::Output, StepError>> {
        steps.iter().map(|(step, ctx)| step.run(ctx)).collect()
    }

    /// The model file that it writes, or what its parts are named after.
    fn out(&mut self) -> Option<&mut Out> {
        None
    }

    /// The model files that it writes, under their final names; of parts the headers of what it reads
    /// say how many.
    ///
    /// # Errors
    /// Those of the step, as far as headers tell.
    fn model_files(&self) -> Result<Vec<Utf8PathBuf>, StepError> {
        Ok(Vec::new())
    }

    /// Whether it writes its model in parts.
    fn is_split(&self) -> bool {
        false
    }

    /// The model file that it would make of `source`, which stands for what it reads; `None` if it
    /// makes none, or headers do not tell.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`] if headers show that what it is asked for is impossible.
    fn measure(&self, _source: &dyn TensorSource) -> Result<Option<Measure>, StepError> {
        Ok(None)
    }

    /// Bytes that it maps at once, by what is known of the lengths of files.
    fn mapped_bytes(&self, _length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        None
    }

    /// What it makes a machine do, by the model that it writes and by those that it reads; `None` where
    /// that is not known.
    fn work(
        &self,
        _own: Option<&Measure>,
        _model: &mut dyn FnMut(&FileRef) -> Option<ModelWork>,
    ) -> Option<Work> {
        Some(Work::start())
    }

    /// The longest text in tokens that it has a model read, and the settings that ask for it.
    fn longest_text(&self) -> Option<(&'static str, u64)> {
        None
    }

    /// When it has taken too long.
    fn limit(&self) -> Option<&TimeLimit> {
        None
    }

    /// Its result, as it is kept.
    ///
    /// # Errors
    /// If `result` is not what the kind gives, here and below.
    fn output(result: &Value) -> Result<Self::Output, StepError> {
        Deserialize::deserialize(result).map_err(|e: serde_json::Error| {
            StepError::new(
                ErrorClass::Step,
                format!("the result of {} is not what that kind gives: {e}", Self::KIND),
            )
        })
    }

    /// The files that a finished step wrote.
    fn outputs(_result: &Value) -> Result<Vec<FileDigest>, StepError> {
        Ok(Vec::new())
    }

    /// Of these, those that are worth nothing if it turns out that what it read changed meanwhile:
    /// nothing shows on them what they are.
    fn made_of_inputs(_result: &Value) -> Result<Vec<Utf8PathBuf>, StepError> {
        Ok(Vec::new())
    }

    /// The bytes that a finished step wrote.
    fn written_bytes(result: &Value) -> Result<u64, StepError> {
        Ok(Self::outputs(result)?.iter().map(|file| file.bytes).sum())
    }

    /// What else is to be said of a finished step, in a few words.
    fn remark(_result: &Value) -> Result<Option<String>, StepError> {
        Ok(None)
    }

    /// The files from outside that are read whole to find their digests.
    fn hashes(&self) -> Vec<Utf8PathBuf> {
        Vec::new()
    }

    /// These, with the digests that were found.
    fn hashed(_result: &Value) -> Result<Vec<FileDigest>, StepError> {
        Ok(Vec::new())
    }
}
