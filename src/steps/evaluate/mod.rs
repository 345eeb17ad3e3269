//! Perplexity of a model over texts, and its KL divergence from references.
//!
//! llama-perplexity's method: the text is cut into windows of `context` tokens, each read on its
//! own and beginning with the vocabulary's first token if it wants one, and only the second half
//! of a window is scored, so that every scored token has at least half a window before it.
//!
//! One model at a time reads, so that the files need not fit into memory together: first the
//! candidate as much text as its logits may be held of, then each reference the same.

mod spec;

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, ErrorClass, Level, Loaded, StepError, Unit, model_error};
use crate::compute::ThreadPool;
use crate::files::open_regular;
use crate::metrics::divergence::{Divergence, KlSummary, TokenDivergence};
use crate::metrics::perplexity::{Perplexity, log_softmax};
use crate::model::{LogitsFor, ModelOptions, Session};
use crate::published::StandIn;
use crate::tokenizer::Special;

pub use spec::{EvaluateSpec, SpecialTokens};

/// Logits of one model held at a time, in numbers: 268 MB. Those of a window of 512 tokens of
/// gpt-oss (255 scored, a vocabulary of 201,088) are 205 MB; a window with more is read in pieces,
/// and every model's weights as often.
const HELD_LOGITS: usize = 64 << 20;
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
/// [`ErrorClass::Input`] if a file is missing or damaged, the vocabularies disagree about the
/// text, or a text is shorter than a window; [`ErrorClass::Usage`] if the window is too short or
/// longer than a model's context.
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
    let windows = windows(spec, context, &models, ctx)?;
    ctx.log(
        Level::Info,
        format!("{} windows of {context} tokens, {} models in turn", windows.len(), models.len()),
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
            special_tokens: Some(spec.special_tokens),
            references,
        })
    });
    result.ok_or_else(|| StepError::usage("no token was scored"))
}

/// The windows of all texts, in order; none crosses from one text into the next.
fn windows(
    spec: &EvaluateSpec,
    context: usize,
    models: &[(Utf8PathBuf, Loaded)],
    ctx: &Context<'_>,
) -> Result<Vec<Vec<u32>>, StepError> {
    let limit = spec.max_windows.map_or(usize::MAX, |n| n as usize);
    let mut windows = Vec::new();
    for path in &spec.corpus {
        let text = text(path, ctx)?;
        let tokens = tokens(path, &text, spec.special_tokens, models, ctx)?;
        if tokens.len() < context {
            return Err(StepError::input(format!(
                "{path} has {} tokens; one window needs {context}: use a longer text or a \
                smaller context",
                tokens.len()
            )));
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
        return Err(StepError::usage(message));
    }
    Ok(windows)
}

/// A corpus, which is UTF-8.
fn text(path: &Utf8Path, ctx: &Context<'_>) -> Result<String, StepError> {
    let mut bytes = Vec::new();
    open_regular(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|e| StepError::unreadable(path, &e))?;
    // A web page may be what somebody evaluates on; a pointer is not.
    if let Some(pointer @ StandIn::LfsPointer { .. }) = StandIn::of(&bytes) {
        return Err(StepError::input(format!("{path} is {pointer}")));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(StepError::input(format!(
            "{path} is UTF-16 text, by its first two bytes; expected UTF-8: convert it, for \
            example with iconv -f UTF-16 -t UTF-8"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let (at, bytes) = (e.utf8_error().valid_up_to(), e.as_bytes());
        let line = 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
        StepError::input(format!(
            "{path} is not UTF-8 text: expected UTF-8, found the byte {:#04x} at offset {at}, in \
            line {line}; convert it, for example with iconv -f LATIN1 -t UTF-8",
            bytes[at]
        ))
    })?;
    if text.starts_with('\u{feff}') {
        let message =
            "begins with a byte order mark, which is read as text, as by llama-perplexity";
        ctx.log(Level::Warn, format!("{path} {message}"));
    }
    Ok(text)
}

/// The tokens of one text, on which all vocabularies have to agree: a divergence between other
/// tokens would mean nothing.
fn tokens(
    path: &Utf8Path,
    text: &str,
    special: SpecialTokens,
    models: &[(Utf8PathBuf, Loaded)],
    ctx: &Context<'_>,
) -> Result<Vec<u32>, StepError> {
    let special = match special {
        SpecialTokens::Parse => Special::UserDefined,
        SpecialTokens::Literal => Special::AsText,
    };
    if special == Special::UserDefined
        && let Some((_, Loaded { tokenizer, .. })) = models.first()
        && let Some((count, first)) = tokenizer.spelled_as_text(text, special)
    {
        let first = String::from_utf8_lossy(tokenizer.bytes(first));
        ctx.log(
            Level::Warn,
            format!(
                "{path} spells control tokens {count} times, the first of them {first}: they are \
                read as text, as by llama-perplexity"
            ),
        );
    }
    let mut agreed: Option<Vec<u32>> = None;
    for (gguf, loaded) in models {
        let tokenizer = &loaded.tokenizer;
        let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
        let go_on = || ctx.check_cancelled().is_ok();
        let read = tokenizer.encode_while(text, special, &go_on);
        let read = read.ok_or_else(StepError::interrupted)?;
        let tokens: Vec<u32> = bos.into_iter().chain(read).collect();
        match &agreed {
            None => agreed = Some(tokens),
            Some(first) => {
                let at = first.iter().zip(&tokens).position(|(a, b)| a != b);
                let sizes = (models[0].1.model.vocab_size(), loaded.model.vocab_size());
                if at.is_some() || first.len() != tokens.len() || sizes.0 != sizes.1 {
                    return Err(StepError::input(format!(
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

/// Tokens that a model reads at once, the last of which are scored.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    window: usize,
    read: Range<usize>,
    scored: usize,
}

impl Piece {
    /// Cuts windows of `context` tokens into pieces of at most `rows` scored tokens.
    fn cut(windows: usize, context: usize, rows: usize) -> Vec<Self> {
        // The last token of a window is only ever predicted.
        let (first, last) = (context / 2, context - 1);
        let starts = || (first..last).step_by(rows);
        let pieces = (0..windows).flat_map(|window| starts().map(move |start| (window, start)));
        pieces
            .map(|(window, start)| {
                let end = last.min(start + rows);
                let from = if start == first { 0 } else { start };
                Self { window, read: from..end, scored: end - start }
            })
            .collect()
    }

    /// The tokens after those that are scored.
    fn next<'w>(&self, windows: &'w [Vec<u32>]) -> &'w [u32] {
        &windows[self.window][self.read.end + 1 - self.scored..self.read.end + 1]
    }
}

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
        sessions.push((path, loaded.session(context, ctx)?));
    }
    let Some(((path, session), others)) = sessions.split_first_mut() else {
        return Ok(Scores::default());
    };
    let mut candidate = Perplexity::default();
    let mut references = vec![(Divergence::default(), Perplexity::default()); others.len()];
    let rows = (HELD_LOGITS / vocab).max(1);
    let pieces = Piece::cut(windows.len(), context, rows);
    let largest = pieces.iter().map(|p| p.scored).max().unwrap_or(1);
    let total = (windows.len() * models.len() * context) as u64;
    let mut done = 0;
    let mut progress = |piece: &Piece| {
        // A window's last token is done with when the one before it is.
        let ends = usize::from(piece.read.end + 1 == context);
        done += (piece.read.len() + ends) as u64;
        ctx.progress(done, total, Unit::Tokens);
    };
    for group in pieces.chunks(rows / largest) {
        let mut held = Vec::with_capacity(group.len());
        for piece in group {
            ctx.check_cancelled()?;
            let logits = forward(path, session, piece, windows)?;
            let next = piece.next(windows);
            let scored = each(&pool, next.len(), ctx, |i| {
                log_probabilities(&logits[i * vocab..][..vocab])[next[i] as usize]
            })?;
            scored.into_iter().for_each(|l| candidate.add(l));
            held.push(logits);
            progress(piece);
        }
        for ((path, session), (divergence, own)) in others.iter_mut().zip(&mut references) {
            for (piece, candidate) in group.iter().zip(&held) {
                ctx.check_cancelled()?;
                let logits = forward(path, session, piece, windows)?;
                let next = piece.next(windows);
                let compared = each(&pool, next.len(), ctx, |i| {
                    let row = i * vocab..(i + 1) * vocab;
                    let reference = log_probabilities(&logits[row.clone()]);
                    let candidate = log_probabilities(&candidate[row]);
                    (reference[next[i] as usize], TokenDivergence::of(&reference, &candidate))
                })?;
                for (log_probability, token) in compared {
                    own.add(log_probability);
                    divergence.add(token);
                }
                progress(piece);
            }
        }
    }
    Ok((candidate, references))
}

/// What `body` makes of each row of `0..rows`; stops between two of them, which are a hundred thousand
/// exponentials each.
fn each<R: Send>(
    pool: &ThreadPool,
    rows: usize,
    ctx: &Context<'_>,
    body: impl Fn(usize) -> R + Send + Sync,
) -> Result<Vec<R>, StepError> {
    let results = pool.map(rows, |i| {
        ctx.check_cancelled()?;
        Ok(body(i))
    });
    results.into_iter().collect()
}

fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let mut out = vec![0.0; logits.len()];
    log_softmax(logits, &mut out);
    out
}

/// Reads a piece; gives the logits of the tokens that are scored. Logits that are no numbers are
/// the file's fault.
fn forward(
    path: &Utf8Path,
    session: &mut Session<'_>,
    piece: &Piece,
    windows: &[Vec<u32>],
) -> Result<Vec<f32>, StepError> {
    session.truncate(piece.read.start).map_err(|e| model_error(path, &e))?;
    let tokens = &windows[piece.window][piece.read.clone()];
    let wanted = LogitsFor::Tail(piece.scored);
    session.forward(tokens, wanted).map_err(|e| model_error(path, &e))?;
    session.check_finite().map_err(|e| model_error(path, &e))?;
    Ok(session.take_logits())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    fn a_window_is_read_at_once_if_its_logits_can_be_held() {
        let piece = |window, read, scored| Piece { window, read, scored };
        assert_eq!(Piece::cut(2, 8, 3), [piece(0, 0..7, 3), piece(1, 0..7, 3)]);
        let cut = Piece::cut(2, 9, 3);
        let expected = [piece(0, 0..7, 3), piece(0, 7..8, 1), piece(1, 0..7, 3), piece(1, 7..8, 1)];
        assert_eq!(cut, expected);
        let windows = vec![(0..9).collect(), (10..19).collect()];
        assert_eq!(cut[0].next(&windows), [5, 6, 7]);
        assert_eq!(cut[3].next(&windows), [18]);
        // The window that evaluations have if not told otherwise, of gpt-oss.
        let rows = HELD_LOGITS / 201_088;
        assert_eq!(Piece::cut(1, 512, rows), [piece(0, 0..511, 255)]);
    }

    #[test]
    fn no_row_is_computed_after_it_was_told_to_stop() {
        let (recorder, cancelled) = (Recorder::new(), AtomicBool::new(false));
        let ctx = Context { cancelled: &cancelled, ..context(&recorder) };
        let pool = ThreadPool::new(1).unwrap();
        let computed = AtomicUsize::new(0);
        let stop_at = |last: usize| {
            each(&pool, 100, &ctx, |i| {
                computed.fetch_add(1, Ordering::Relaxed);
                cancelled.store(i == last, Ordering::Relaxed);
                i
            })
        };
        assert_eq!(stop_at(100).unwrap(), (0..100).collect::<Vec<_>>());
        assert_eq!(stop_at(7).unwrap_err().class, ErrorClass::Interrupted);
        assert_eq!(computed.into_inner(), 100 + 8);
    }

    #[test]
    fn it_stops_when_told_to() {
        let (recorder, cancelled) = (Recorder::new(), AtomicBool::new(true));
        let context = Context { cancelled: &cancelled, ..context(&recorder) };
        let error = run(&spec(), &context).unwrap_err();
        assert_eq!(error.class, ErrorClass::Interrupted);
    }
}
