//! The texts of an evaluation as windows of tokens.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use super::EvaluateSpec;
use super::SpecialTokens;
use crate::downloads::StandIn;
use crate::files::open_regular;
use crate::steps::{Context, Level, Loaded, StepError};
use crate::tokenizer::Special;

/// The windows of all texts, in order; none crosses from one text into the next.
pub fn windows(
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
