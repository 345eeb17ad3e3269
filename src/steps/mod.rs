//! The kinds of step: each turns one specification into files and a result. Knows nothing of the
//! graph that orders steps, of the state that remembers them, or of the terminal.

pub mod bench;
pub mod compare;
mod context;
pub mod convert;
mod dispatch;
mod error;
pub mod evaluate;
mod kind;
pub mod load_check;
mod loaded;
mod model_source;
mod prompt;
pub mod publish;
pub mod quantize;
pub mod report;
mod spec;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;
mod warnings;
mod write_model;

pub use bench::pair::{BenchPairResult, PairComparison};
pub use bench::{BenchResult, BenchSettings, Measurements, Noise, RunSample};
pub use compare::{CompareResult, GreedyAgreement, TensorError, TensorErrors, TypeDifference};
pub use context::{Context, Event, EventSink, Level, Unit, rfc3339};
pub use dispatch::run;
pub use error::{ErrorClass, StepError};
pub use kind::{
    StepKind, hashed_inputs, made_of_inputs, model_outputs, outputs, remark, written_bytes,
};
pub use loaded::{Loaded, model_error};
pub use model_source::{open_checkpoint, open_source, outline_source, source_warnings};
pub use report::{BenchDocument, ReportResult};
pub use spec::*;
pub use warnings::warnings;
