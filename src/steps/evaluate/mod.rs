//! Perplexity of a model over texts, and its KL divergence from references.
//!
//! llama-perplexity's method: the text is cut into windows of `context` tokens, each read on its
//! own and beginning with the vocabulary's first token if it wants one, and only the second half
//! of a window is scored, so that every scored token has at least half a window before it.
//!
//! One model at a time reads, so that the files need not fit into memory together: first the
//! candidate as much text as its logits may be held of, then each reference the same.

mod score;
mod spec;
mod windows;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Level, Loaded, StepError};
use crate::model::ModelOptions;
use crate::stats::divergence::KlSummary;
use score::HELD_LOGITS;

pub use spec::{EvaluateSpec, SpecialTokens};

/// Memory in bytes that an evaluation takes for logits at most: the candidate's and those of the
/// reference that reads. (A vocabulary of which not even one row fits takes two rows.)
pub const LOGITS_BYTES: u64 = 2 * (HELD_LOGITS * size_of::<f32>()) as u64;
/// The smallest window, in tokens: two are read before the first that is scored.
pub const MIN_CONTEXT: u32 = 4;

/// Result of [`EvaluateSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluateResult {
    /// Tokens scored: those in the second halves of the windows.
    pub tokens: u64,
    pub windows: u64,
    pub perplexity: f64,
    /// Standard error of the perplexity.
    pub perplexity_stderr: f64,
    /// How special tokens were read; absent in results of before there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub special_tokens: Option<SpecialTokens>,
    /// By the reference's name.
    pub references: BTreeMap<String, ReferenceResult>,
}

/// A candidate held against one reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceResult {
    /// Divergence of the candidate from the reference, in nats per token.
    pub kl_divergence: KlSummary,
    /// Share of tokens, 0 to 1, for which both hold the same next token most likely.
    pub top_token_agreement: f64,
    /// The reference's own perplexity.
    pub perplexity: f64,
}

/// Evaluates one file.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a file is missing or damaged, the
/// vocabularies disagree about the text, or a text is shorter than a window;
/// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if the window is too short or longer than
/// a model's context.
pub fn run(spec: &EvaluateSpec, ctx: &Context<'_>) -> Result<EvaluateResult, StepError> {
    if spec.context < MIN_CONTEXT {
        let message =
            format!("a window of {} tokens is too short; use {MIN_CONTEXT} or more", spec.context);
        return Err(StepError::usage(message));
    }
    let context = spec.context as usize;
    let options = ModelOptions { threads: ctx.threads, exact: spec.exact, kv_cache: spec.kv_cache };
    let open = |path: &Utf8PathBuf| -> Result<(Utf8PathBuf, Loaded), StepError> {
        ctx.check_cancelled()?;
        let loaded = Loaded::open(path, &options)?;
        loaded.warn(ctx);
        Ok((path.clone(), loaded))
    };
    let mut models = vec![open(&spec.gguf)?];
    for reference in &spec.references {
        models.push(open(&reference.gguf)?);
    }
    let windows = windows::windows(spec, context, &models, ctx)?;
    ctx.log(
        Level::Info,
        format!("{} windows of {context} tokens, {} models in turn", windows.len(), models.len()),
    );
    let (candidate, references) = score::score(&windows, context, &models, ctx)?;

    let results = spec.references.iter().zip(references).map(|(reference, (divergence, own))| {
        let result = ReferenceResult {
            kl_divergence: divergence.summary()?,
            top_token_agreement: divergence.top_token_agreement()?,
            perplexity: own.value()?,
        };
        Some((reference.name.clone(), result))
    });
    let result = results.collect::<Option<_>>().and_then(|references| {
        Some(EvaluateResult {
            tokens: candidate.tokens(),
            windows: windows.len() as u64,
            perplexity: candidate.value()?,
            perplexity_stderr: candidate.standard_error().unwrap_or(0.0),
            special_tokens: Some(spec.special_tokens),
            references,
        })
    });
    result.ok_or_else(|| StepError::usage("no token was scored"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::steps::ErrorClass;
    use crate::steps::testing::{Recorder, context};

    fn spec() -> EvaluateSpec {
        EvaluateSpec {
            gguf: "no such.gguf".into(),
            references: Vec::new(),
            corpus: vec!["no such.txt".into()],
            context: 512,
            max_windows: None,
            exact: false,
            special_tokens: SpecialTokens::Parse,
            kv_cache: None,
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let recorder = Recorder::new();
        let error = run(&spec(), &context(&recorder)).unwrap_err();
        assert_eq!(error.class, ErrorClass::Input);
        assert!(error.message.contains("no such.gguf"), "{error}");
    }

    #[test]
    fn it_stops_when_told_to() {
        let (recorder, cancelled) = (Recorder::new(), AtomicBool::new(true));
        let context = Context { cancelled: &cancelled, ..context(&recorder) };
        let error = run(&spec(), &context).unwrap_err();
        assert_eq!(error.class, ErrorClass::Interrupted);
    }
}
