//! What every step says of itself. Knows neither the kinds nor the graph that orders steps.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FileRef, ModelCost, Out, Quantizer, StepError, Work};
use crate::files::FileDigest;
use crate::gguf::TensorSource;

/// What all steps of a kind have in common.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// In step ids and in the description's `kind`.
    pub name: &'static str,
    /// Goes up when the output for the same inputs changes, so that no older result counts any more.
    pub version: u32,
    pub load: Load,
    pub depends_on: DependsOn,
}

impl Kind {
    /// One that takes all cores and depends on nothing of the host.
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self { name, version, load: Load::Heavy, depends_on: DependsOn::Nothing }
    }

    /// The same with another load.
    pub const fn load(self, load: Load) -> Self {
        Self { load, ..self }
    }

    /// The same, depending on something of the host.
    pub const fn depends_on(self, depends_on: DependsOn) -> Self {
        Self { depends_on, ..self }
    }

    /// What a step of this kind gave, as it is kept.
    ///
    /// # Errors
    /// If `result` is not what the kind gives.
    pub fn read<R: DeserializeOwned>(&self, result: &Value) -> Result<R, StepError> {
        R::deserialize(result).map_err(|e| {
            let kind = self.name;
            StepError::failed(format!("the result of {kind} is not what that kind gives: {e}"))
        })
    }
}

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
pub struct PlannedModel {
    /// Length of the file, or of all its parts.
    pub bytes: u64,
    /// What it makes a machine do, where it is still to be written.
    pub cost: Option<ModelCost>,
    /// Weights that are dequantized to write it.
    pub dequantize: u64,
    /// Weights that are quantized to write it.
    pub quantize: BTreeMap<Quantizer, u64>,
    /// What the step will warn of.
    pub warnings: Vec<String>,
}

/// What a finished step left behind.
#[derive(Debug, Default)]
pub struct Effects {
    /// The files that it wrote.
    pub outputs: Vec<FileDigest>,
    /// Of these, those that are worth nothing if it turns out that what it read changed meanwhile:
    /// nothing shows on them what they are.
    pub made_of_inputs: Vec<Utf8PathBuf>,
    /// The bytes that it wrote itself.
    pub written_bytes: u64,
    /// [`Step::hashes`], with the digests that were found.
    pub hashed: Vec<FileDigest>,
    /// What else is to be said of it, in a few words.
    pub remark: Option<String>,
}

impl Effects {
    /// Of a step that wrote these files.
    pub fn of(outputs: Vec<FileDigest>) -> Self {
        let written_bytes = outputs.iter().map(|file| file.bytes).sum();
        Self { outputs, written_bytes, ..Self::default() }
    }
}

/// Finds what the model in a file makes a machine do, where that is known.
pub type ModelCosts<'a> = dyn FnMut(&FileRef) -> Option<ModelCost> + 'a;

/// The description of a step: a value that can be written down, and that says itself what the step
/// asks for. Beside it stands its [`Kind`], and in the list of kinds how it is done.
pub trait Step {
    /// What it shares with other steps of its kind, in some canonical form: those that answer the same
    /// are best done together. `None`: each by itself.
    fn shares(&self) -> Option<String> {
        None
    }

    /// The model file that it writes, or what its parts are named after.
    fn out(&mut self) -> Option<&mut Out> {
        None
    }

    /// Whether it writes its model in parts.
    fn is_split(&self) -> bool {
        false
    }

    /// The model files that it writes, under their final names; of parts the headers of what it reads
    /// say how many.
    ///
    /// # Errors
    /// Those of the step, as far as headers tell.
    fn model_files(&self) -> Result<Vec<Utf8PathBuf>, StepError> {
        Ok(Vec::new())
    }

    /// The model file that it would make of `source`, which stands for what it reads; `None` if it
    /// makes none, or headers do not tell.
    ///
    /// # Errors
    /// [`ErrorClass::Usage`](super::ErrorClass::Usage) if headers show that what it is asked for is
    /// impossible.
    fn planned_model(&self, _source: &dyn TensorSource) -> Result<Option<PlannedModel>, StepError> {
        Ok(None)
    }

    /// Bytes that it maps at once, by what is known of the lengths of files.
    fn mapped_bytes(&self, _length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
        None
    }

    /// What it makes a machine do, by the model that it writes and by those that it reads; `None` where
    /// that is not known.
    fn work(&self, _own: Option<&PlannedModel>, _costs: &mut ModelCosts<'_>) -> Option<Work> {
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

    /// The files from outside that are read whole to find their digests.
    fn hashes(&self) -> Vec<Utf8PathBuf> {
        Vec::new()
    }

    /// What it left behind, by its result.
    ///
    /// # Errors
    /// If `result` is not what the kind gives.
    fn effects(&self, _result: &Value) -> Result<Effects, StepError> {
        Ok(Effects::default())
    }
}
