//! The kinds of step: each turns one specification into files and a result. Knows nothing of the
//! graph that orders steps, of the state that remembers them, or of the terminal.

pub mod bench;
pub mod compare;
mod context;
pub mod convert;
mod error;
pub mod evaluate;
mod kinds;
pub mod load_check;
mod loaded;
mod model_source;
mod prompt;
pub mod publish;
pub mod quantize;
mod refs;
pub mod report;
mod source;
mod step;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;
mod warnings;
mod work;
mod write_model;
mod written;

pub use bench::pair::{BenchPairResult, BenchPairSpec, PairComparison};
pub use bench::{BenchResult, BenchSettings, BenchSpec, Measurements, Noise, RunSample};
pub use compare::{
    CompareResult, CompareSpec, GreedyAgreement, TensorError, TensorErrors, TypeDifference,
};
pub use context::{Context, Event, EventSink, Level, Unit, rfc3339};
pub use convert::ConvertSpec;
pub use error::{ErrorClass, StepError};
pub use evaluate::{EvaluateSpec, SpecialTokens};
pub use kinds::{StepSpec, run_all};
pub use load_check::{LoadCheckResult, LoadCheckSpec};
pub use loaded::{Loaded, model_error};
pub use model_source::{open_checkpoint, open_source, outline_source, source_warnings};
pub use publish::{Arrival, FileToPublish, PublishResult, PublishSpec, PublishedFile};
pub use quantize::{
    FormatSpec, ImatrixFile, NativeMxfp4, OnFallback, Provenance, QuantizeSpec, TensorRule,
};
pub use refs::*;
pub use report::{
    BenchDocument, InputFile, MadeAt, MadeFrom, ReportCandidate, ReportPublish, ReportReference,
    ReportResult, ReportSpec,
};
pub use source::{ConvertDtype, QuantizeSource, TokenizerSource};
pub use step::{DependsOn, Effects, Kind, Load, ModelCosts, PlannedModel, Step, TimeLimit};
pub use verify::{VerifyResult, VerifySpec};
pub use warnings::warnings;
pub use work::{ModelCost, Quantizer, Work};
pub use written::{UsedImatrix, WriteResult, WrittenTensor, measured_over};
