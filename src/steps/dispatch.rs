//! The one place that leads from a specification to the code of its kind.

use serde::Serialize;
use serde_json::Value;

use super::warnings::Collector;
use super::{
    Context, ErrorClass, StepError, StepSpec, bench, compare, convert, evaluate, load_check,
    publish, quantize, report, verify,
};

/// Does one step and returns its kind's result as JSON, with what the step warned of.
///
/// # Errors
/// The step's own; [`ErrorClass::Interrupted`] when the context says stop.
pub fn run(spec: &StepSpec, ctx: &Context<'_>) -> Result<Value, StepError> {
    ctx.check_cancelled()?;
    let collector = Collector::new(ctx.events);
    let result = dispatch(spec, &ctx.with_events(&collector))?;
    Ok(collector.add_to(result))
}

fn dispatch(spec: &StepSpec, ctx: &Context<'_>) -> Result<Value, StepError> {
    match spec {
        StepSpec::Verify(spec) => json(&verify::run(spec, ctx)?),
        StepSpec::Convert(spec) => json(&convert::run(spec, ctx)?),
        StepSpec::Quantize(spec) => json(&quantize::run(spec, ctx)?),
        StepSpec::LoadCheck(spec) => json(&load_check::run(spec, ctx)?),
        StepSpec::Bench(spec) => json(&bench::run(spec, ctx)?),
        StepSpec::BenchPair(spec) => json(&bench::pair::run(spec, ctx)?),
        StepSpec::Evaluate(spec) => json(&evaluate::run(spec, ctx)?),
        StepSpec::Compare(spec) => json(&compare::run(spec, ctx)?),
        StepSpec::Report(spec) => json(&report::run(spec, ctx)?),
        StepSpec::Publish(spec) => json(&publish::run(spec, ctx)?),
    }
}

fn json(result: &impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(result).map_err(|e| {
        StepError::new(ErrorClass::Step, format!("the step's result is no JSON value: {e}"))
    })
}
