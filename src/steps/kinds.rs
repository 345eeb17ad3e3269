//! The list of the kinds of step: each is a folder here and a word in it. Whoever holds a step of any kind
//! asks it here. Knows nothing of the graph that orders steps.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::warnings::Collector;
use super::{
    Context, DependsOn, ErrorClass, FileRef, Load, Measure, ModelWork, Out, Step, StepError,
    TimeLimit, Work, bench, compare, convert, evaluate, load_check, publish, quantize, report,
    verify,
};
use crate::files::FileDigest;
use crate::gguf::TensorSource;

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

            /// [`Step::shares`], with the kind.
            pub fn shares(&self) -> Option<(&'static str, String)> {
                let shared = match self { $(Self::$kind(spec) => spec.shares()),* };
                shared.map(|shared| (self.kind(), shared))
            }

            /// Does those of `steps` that are of this one's kind.
            fn dispatch(&self, steps: &[(&Self, &Context<'_>)]) -> Vec<Result<Value, StepError>> {
                match self {
                    $(Self::$kind(_) => {
                        let own = steps.iter().filter_map(|(step, ctx)| {
                            let Self::$kind(spec) = step else { return None };
                            Some((spec, *ctx))
                        });
                        let results = <$spec>::run_all(&own.collect::<Vec<_>>()).into_iter();
                        results.map(|result| json(&result?)).collect()
                    }),*
                }
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

/// Does one step, or several that share something ([`StepSpec::shares`]), and returns of each its
/// kind's result as JSON, with what the step warned of, or why it failed:
/// [`ErrorClass::Interrupted`] when the context says stop.
pub fn run_all(steps: &[(&StepSpec, &Context<'_>)]) -> Vec<Result<Value, StepError>> {
    let Some((first, _)) = steps.first() else { return Vec::new() };
    let kept: Vec<_> = steps.iter().map(|(_, ctx)| Collector::new(ctx.events)).collect();
    let results = {
        let heard = steps.iter().zip(&kept).map(|((_, ctx), kept)| ctx.with_events(kept));
        let heard: Vec<Context<'_>> = heard.collect();
        let steps: Vec<_> = steps.iter().map(|(step, _)| *step).zip(&heard).collect();
        first.dispatch(&steps)
    };
    debug_assert_eq!(results.len(), steps.len(), "steps of different kinds share nothing");
    results.into_iter().zip(kept).map(|(result, kept)| Ok(kept.add_to(result?))).collect()
}

fn json(result: &impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(result).map_err(|e| {
        StepError::new(ErrorClass::Step, format!("the step's result is no JSON value: {e}"))
    })
}
