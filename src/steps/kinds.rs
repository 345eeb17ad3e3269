//! The list of the kinds of step: each is a folder here and a line in it. Knows nothing of the
//! graph that orders steps.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::warnings::Collector;
use super::{
    Context, Kind, Step, StepError, bench, compare, convert, evaluate, load_check, publish,
    quantize, report, verify,
};

/// Makes the enum of all kinds: of each its description, and how steps of it are done.
macro_rules! kinds {
    ($($kind:ident($spec:path) => $run:expr),* $(,)?) => {
        /// One step to do; what it says of itself it says as a [`Step`].
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum StepSpec {
            $($kind($spec)),*
        }

        impl StepSpec {
            /// What it has in common with others.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => <$spec>::KIND),* }
            }

            /// Does those of `steps` that are of this one's kind.
            fn dispatch(&self, steps: &[(&Self, &Context<'_>)]) -> Vec<Result<Value, StepError>> {
                match self {
                    $(Self::$kind(_) => {
                        let own = steps.iter().filter_map(|(step, ctx)| {
                            let Self::$kind(spec) = step else { return None };
                            Some((spec, *ctx))
                        });
                        let results = $run(&own.collect::<Vec<_>>()).into_iter();
                        results.map(|result| json(&result?)).collect()
                    }),*
                }
            }
        }

        impl Deref for StepSpec {
            type Target = dyn Step;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$kind(spec) => spec),* }
            }
        }

        impl DerefMut for StepSpec {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self { $(Self::$kind(spec) => spec),* }
            }
        }

        $(impl From<$spec> for StepSpec {
            fn from(spec: $spec) -> Self {
                Self::$kind(spec)
            }
        })*
    };
}

kinds! {
    Verify(verify::VerifySpec) => each(verify::run),
    Convert(convert::ConvertSpec) => each(convert::run),
    Quantize(quantize::QuantizeSpec) => quantize::run_all,
    LoadCheck(load_check::LoadCheckSpec) => each(load_check::run),
    Bench(bench::BenchSpec) => each(bench::run),
    BenchPair(bench::pair::BenchPairSpec) => each(bench::pair::run),
    Evaluate(evaluate::EvaluateSpec) => each(evaluate::run),
    Compare(compare::CompareSpec) => compare::run_all,
    Report(report::ReportSpec) => each(report::run),
    Publish(publish::PublishSpec) => each(publish::run),
}

impl StepSpec {
    /// [`Step::shares`], with the kind's name.
    pub fn shares(&self) -> Option<(&'static str, String)> {
        Some((self.kind().name, (**self).shares()?))
    }
}

/// Does steps that share something one after the other.
fn each<S, R>(
    run: impl Fn(&S, &Context<'_>) -> Result<R, StepError>,
) -> impl Fn(&[(&S, &Context<'_>)]) -> Vec<Result<R, StepError>> {
    move |steps| steps.iter().map(|(step, ctx)| run(step, ctx)).collect()
}

/// Does one step, or several of a kind that share something ([`Step::shares`]): each has its own
/// result, the same as if it were done alone. Returns of each its kind's result as JSON, with what the
/// step warned of, or why it failed: [`super::ErrorClass::Interrupted`] when the context says stop.
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
    serde_json::to_value(result)
        .map_err(|e| StepError::failed(format!("the step's result is no JSON value: {e}")))
}
