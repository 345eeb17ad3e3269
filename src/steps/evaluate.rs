//! Perplexity of a model over texts, and its KL divergence from references.
//!
//! llama-perplexity's method: the text is cut into windows of `context` tokens, each read on its
//! own and beginning with the vocabulary's first token if it wants one, and only the second half
//! of a window is scored, so that every scored token has at least half a window before it. All
//! models go through a window side by side; no logits are kept.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, ErrorClass, EvaluateSpec, Level, Loaded, StepError, Unit, model_error};
use crate::compute::ThreadPool;
use crate::metrics::divergence::{Divergence, KlSummary, TokenDivergence};
use crate::metrics::perplexity::{Perplexity, log_softmax};
use crate::model::{LogitsFor, ModelOptions, Session};
use crate::tokenizer::Special;

/// Logits held at a time per model, in numbers: 64 MB. More read the weights less often.
const BLOCK_LOGITS: usize = 16 << 20;
/// The smallest window of which a token is scored.
const MIN_CONTEXT: usize = 4;

/// Result of [`EvaluateSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluateResult {
    /// Tokens scored: those in the second halves of the windows.
    pub tokens: u64,
    pub windows: u64,
    pub perplexity: f64,
    /// Standard error of the perplexity.
    pub perplexity_stderr: f64,
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
/// [`ErrorClass::Input`] if a file is missing or damaged, the vocabularies disagree about the
/// text, or a text is shorter than a window; [`ErrorClass::Usage`] if the window is too short or
/// longer than a model's context.
pub fn run(spec: &EvaluateSpec, ctx: &Context<'_>) -> Result<EvaluateResult, StepError> {
    let context = spec.context as usize;
    if context < MIN_CONTEXT {
        let message =
            format!("a window of {context} tokens is too short; use {MIN_CONTEXT} or more");
        return Err(StepError::new(ErrorClass::Usage, message));
    }
    let options = ModelOptions { threads: ctx.threads, exact: spec.exact };
    let open = |path: &Utf8PathBuf| -> Result<(Utf8PathBuf, Loaded), StepError> {
        ctx.check_cancelled()?;
        Ok((path.clone(), Loaded::open(path, &options)?))
    };
    let mut models = vec![open(&spec.gguf)?];
    for reference in &spec.references {
        models.push(open(&reference.gguf)?);
    }
    let windows = windows(spec, context, &models)?;
    ctx.log(
        Level::Info,
        format!(
            "{} windows of {context} tokens, {} models side by side",
            windows.len(),
            models.len()
        ),
    );
    let (candidate, references) = score(&windows, context, &models, ctx)?;

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
            references,
        })
    });
    result.ok_or_else(|| StepError::new(ErrorClass::Usage, "no token was scored"))
}

/// The windows of all texts, in order; none crosses from one text into the next.
fn windows(
    spec: &EvaluateSpec,
    context: usize,
    models: &[(Utf8PathBuf, Loaded)],
) -> Result<Vec<Vec<u32>>, StepError> {
    let limit = spec.max_windows.map_or(usize::MAX, |n| n as usize);
    let mut windows = Vec::new();
    for path in &spec.corpus {
        let tokens = tokens(path, models)?;
        if tokens.len() < context {
            return Err(StepError::new(
                ErrorClass::Input,
                format!(
                    "{path} has {} tokens; one window needs {context}: use a longer text or a \
                     smaller context",
                    tokens.len()
                ),
            ));
        }
        let (_, first) = &models[0];
        let bos = first.tokenizer.bos().filter(|_| first.tokenizer.add_bos());
        for window in tokens.chunks_exact(context) {
            let mut window = window.to_vec();
            if let Some(bos) = bos {
                window[0] = bos;
            }
            windows.push(window);
        }
    }
    windows.truncate(limit);
    if windows.is_empty() {
        let message = "nothing to evaluate: no text, or no window of it was asked for";
        return Err(StepError::new(ErrorClass::Usage, message));
    }
    Ok(windows)
}

/// The tokens of one text, on which all vocabularies have to agree: a divergence between other
/// tokens would mean nothing.
fn tokens(path: &Utf8Path, models: &[(Utf8PathBuf, Loaded)]) -> Result<Vec<u32>, StepError> {
    let input = |message: String| StepError::new(ErrorClass::Input, message);
    let bytes = fs::read(path).map_err(|e| input(format!("cannot read {path}: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        input(format!("{path} is not UTF-8 text: wrong at byte {at}"))
    })?;
    let mut agreed: Option<Vec<u32>> = None;
    for (gguf, loaded) in models {
        let tokenizer = &loaded.tokenizer;
        let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let tokens: Vec<u32> =
            bos.into_iter().chain(tokenizer.encode(&text, Special::AsText)).collect();
        match &agreed {
            None => agreed = Some(tokens),
            Some(first) => {
                let at = first.iter().zip(&tokens).position(|(a, b)| a != b);
                let sizes = (models[0].1.model.vocab_size(), loaded.model.vocab_size());
                if at.is_some() || first.len() != tokens.len() || sizes.0 != sizes.1 {
                    return Err(input(format!(
                        "{} and {gguf} do not share a vocabulary ({} and {} tokens; {path} becomes \
                         {} and {} tokens, alike up to token {}); compare files of one model",
                        models[0].0,
                        sizes.0,
                        sizes.1,
                        first.len(),
                        tokens.len(),
                        at.unwrap_or(first.len().min(tokens.len())),
                    )));
                }
            }
        }
    }
    Ok(agreed.unwrap_or_default())
}

/// The candidate's likelihoods, and for each reference the divergence and its likelihoods.
type Scores = (Perplexity, Vec<(Divergence, Perplexity)>);

fn score(
    windows: &[Vec<u32>],
    context: usize,
    models: &[(Utf8PathBuf, Loaded)],
    ctx: &Context<'_>,
) -> Result<Scores, StepError> {
    let pool =
        ThreadPool::new(ctx.threads).map_err(|e| StepError::from_error(ErrorClass::Host, &e))?;
    let vocab = models[0].1.model.vocab_size();
    let mut sessions = Vec::new();
    for (path, loaded) in models {
        let session = loaded.model.session(context).map_err(|e| model_error(path, &e))?;
        sessions.push((path, session));
    }
    let mut candidate = Perplexity::default();
    let mut references = vec![(Divergence::default(), Perplexity::default()); models.len() - 1];
    // The last token of a window is only ever predicted.
    let (first, last) = (context / 2, context - 1);
    let block = (BLOCK_LOGITS / vocab).max(1);
    let mut log_probabilities = Vec::new();
    let total = (windows.len() * context) as u64;
    for (number, window) in windows.iter().enumerate() {
        ctx.check_cancelled()?;
        for (path, session) in &mut sessions {
            session.truncate(0);
            forward(path, session, &window[..first], LogitsFor::None)?;
        }
        for start in (first..last).step_by(block) {
            let read = start..last.min(start + block);
            // The token after each that is read.
            let next = &window[read.start + 1..read.end + 1];
            let mut sessions = sessions.iter_mut();
            if let Some((path, session)) = sessions.next() {
                let logits = forward(path, session, &window[read.clone()], LogitsFor::All)?;
                log_probabilities.resize(logits.len(), 0.0);
                pool.for_rows(&mut log_probabilities, vocab, 1, |row, out| {
                    log_softmax(&logits[row * vocab..][..vocab], out);
                });
            }
            for (&token, row) in next.iter().zip(log_probabilities.chunks_exact(vocab)) {
                candidate.add(row[token as usize]);
            }
            for ((path, session), (divergence, own)) in sessions.zip(&mut references) {
                let logits = forward(path, session, &window[read.clone()], LogitsFor::All)?;
                let compared = pool.map(next.len(), |i| {
                    let mut reference = vec![0.0; vocab];
                    log_softmax(&logits[i * vocab..][..vocab], &mut reference);
                    let candidate = &log_probabilities[i * vocab..][..vocab];
                    (reference[next[i] as usize], TokenDivergence::of(&reference, candidate))
                });
                for (log_probability, token) in compared {
                    own.add(log_probability);
                    divergence.add(token);
                }
            }
        }
        ctx.progress(((number + 1) * context) as u64, total, Unit::Tokens);
    }
    Ok((candidate, references))
}

/// Reads tokens; logits that are no numbers are the file's fault.
fn forward<'s>(
    path: &Utf8Path,
    session: &'s mut Session<'_>,
    tokens: &[u32],
    logits: LogitsFor,
) -> Result<&'s [f32], StepError> {
    session.forward(tokens, logits).map_err(|e| model_error(path, &e))?;
    session.check_finite().map_err(|e| model_error(path, &e))?;
    Ok(session.logits())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::steps::testing::{Recorder, context};

    fn spec() -> EvaluateSpec {
        EvaluateSpec {
            gguf: "no such.gguf".into(),
            references: Vec::new(),
            corpus: vec!["no such.txt".into()],
            context: 512,
            max_windows: None,
            exact: false,
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
