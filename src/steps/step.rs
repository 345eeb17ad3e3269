//! What every kind of step says of itself, and the list of the kinds: a kind is a folder here and a
//! word in that list. Knows nothing of the graph that orders steps.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::warnings::Collector;
use super::{Context, ErrorClass, FileRef, ModelWork, Out, Quantizer, StepError, Work};
use super::{bench, compare, convert, evaluate, load_check, publish, quantize, report, verify};
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

/// Makes the enum of all kinds, and of each method of [`Step`] one that asks the kind at hand.
macro_rules! steps {
    ($($kind:ident($spec:path)),* $(,)?) => {
        /// One step to do.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum StepSpec {
            $($kind($spec)),*
        }

        impl StepSpec {
            /// The kind's name.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$kind(_) => <$spec>::KIND),* }
            }

            /// [`Step::VERSION`].
            pub fn version(&self) -> u32 {
                match self { $(Self::$kind(_) => <$spec>::VERSION),* }
            }

            /// [`Step::LOAD`].
            pub fn load(&self) -> Load {
                match self { $(Self::$kind(_) => <$spec>::LOAD),* }
            }

            /// [`Step::DEPENDS_ON`].
            pub fn depends_on(&self) -> DependsOn {
                match self { $(Self::$kind(_) => <$spec>::DEPENDS_ON),* }
            }

            fn dispatch(&self, ctx: &Context<'_>) -> Result<Value, StepError> {
                match self { $(Self::$kind(spec) => json(&spec.run(ctx)?)),* }
            }

            /// [`Step::out`].
            pub fn out(&mut self) -> Option<&mut Out> {
                match self { $(Self::$kind(spec) => spec.out()),* }
            }

            /// [`Step::model_files`].
            ///
            /// # Errors
            /// Those of the step, as far as headers tell.
            pub fn model_files(&self) -> Result<Vec<Utf8PathBuf>, StepError> {
                match self { $(Self::$kind(spec) => spec.model_files()),* }
            }

            /// [`Step::is_split`].
            pub fn is_split(&self) -> bool {
                match self { $(Self::$kind(spec) => spec.is_split()),* }
            }

            /// [`Step::measure`].
            ///
            /// # Errors
            /// [`ErrorClass::Usage`] if headers show that what it is asked for is impossible.
            pub fn measure(&self, source: &dyn TensorSource) -> Result<Option<Measure>, StepError> {
                match self { $(Self::$kind(spec) => spec.measure(source)),* }
            }

            /// [`Step::mapped_bytes`].
            pub fn mapped_bytes(&self, length: &dyn Fn(&FileRef) -> Option<u64>) -> Option<u64> {
                match self { $(Self::$kind(spec) => spec.mapped_bytes(length)),* }
            }

            /// [`Step::work`].
            pub fn work(
                &self,
                own: Option<&Measure>,
                model: &mut dyn FnMut(&FileRef) -> Option<ModelWork>,
            ) -> Option<Work> {
                match self { $(Self::$kind(spec) => spec.work(own, model)),* }
            }

            /// [`Step::longest_text`].
            pub fn longest_text(&self) -> Option<(&'static str, u64)> {
                match self { $(Self::$kind(spec) => spec.longest_text()),* }
            }

            /// [`Step::limit`].
            pub fn limit(&self) -> Option<&TimeLimit> {
                match self { $(Self::$kind(spec) => spec.limit()),* }
            }

            /// [`Step::outputs`] of the step's `result`.
            ///
            /// # Errors
            /// If `result` is not what the kind gives, here and below.
            pub fn outputs(&self, result: &Value) -> Result<Vec<FileDigest>, StepError> {
                match self { $(Self::$kind(_) => <$spec>::outputs(result)),* }
            }

            /// [`Step::made_of_inputs`] of the step's `result`.
            pub fn made_of_inputs(&self, result: &Value) -> Result<Vec<Utf8PathBuf>, StepError> {
                match self { $(Self::$kind(_) => <$spec>::made_of_inputs(result)),* }
            }

            /// [`Step::written_bytes`] of the step's `result`.
            pub fn written_bytes(&self, result: &Value) -> Result<u64, StepError> {
                match self { $(Self::$kind(_) => <$spec>::written_bytes(result)),* }
            }

            /// [`Step::remark`] of the step's `result`.
            pub fn remark(&self, result: &Value) -> Result<Option<String>, StepError> {
                match self { $(Self::$kind(_) => <$spec>::remark(result)),* }
            }

            /// [`Step::hashes`].
            pub fn hashes(&self) -> Vec<Utf8PathBuf> {
                match self { $(Self::$kind(spec) => spec.hashes()),* }
            }

            /// [`Step::hashed`] of the step's `result`.
            pub fn hashed(&self, result: &Value) -> Result<Vec<FileDigest>, StepError> {
                match self { $(Self::$kind(_) => <$spec>::hashed(result)),* }
            }
        }

        $(impl From<$spec> for StepSpec {
            fn from(spec: $spec) -> Self {
                Self::$kind(spec)
            }
        })*
    };
}

steps! {
    Verify(verify::VerifySpec),
    Convert(convert::ConvertSpec),
    Quantize(quantize::QuantizeSpec),
    LoadCheck(load_check::LoadCheckSpec),
    Bench(bench::BenchSpec),
    BenchPair(bench::pair::BenchPairSpec),
    Evaluate(evaluate::EvaluateSpec),
    Compare(compare::CompareSpec),
    Report(report::ReportSpec),
    Publish(publish::PublishSpec),
}

/// Does one step and returns its kind's result as JSON, with what the step warned of.
///
/// # Errors
/// The step's own; [`ErrorClass::Interrupted`] when the context says stop.
pub fn run(spec: &StepSpec, ctx: &Context<'_>) -> Result<Value, StepError> {
    ctx.check_cancelled()?;
    let collector = Collector::new(ctx.events);
    let result = spec.dispatch(&ctx.with_events(&collector))?;
    Ok(collector.add_to(result))
}

fn json(result: &impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(result).map_err(|e| {
        StepError::new(ErrorClass::Step, format!("the step's result is no JSON value: {e}"))
    })
}
