//! How far two files generate the same tokens greedily.

use std::ops::ControlFlow;

use camino::Utf8Path;

use super::GreedyAgreement;
use crate::model::sampler::{self, Sampling};
use crate::model::{Generation, LogitsFor, ModelOptions, generate};
use crate::steps::{CompareSpec, Context, ErrorClass, Loaded, StepError, model_error, prompt};

/// Tokens of the fixed prompt.
const PROMPT_TOKENS: usize = 64;
/// Tokens of whose places the logits are held at a time: 51 MB for a vocabulary of 201,088.
const CHUNK: usize = 64;

/// What a file makes of the fixed prompt.
struct Text {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
}

/// Generates with the reference, then asks the file at each of those tokens what it would choose.
/// One of the two is loaded at a time.
///
/// # Errors
/// [`ErrorClass::Input`] if a file is no model, or their vocabularies differ over the prompt;
/// [`ErrorClass::Usage`] if there are more tokens than the model's context has room for.
pub fn agreement(spec: &CompareSpec, ctx: &Context<'_>) -> Result<GreedyAgreement, StepError> {
    let text = generate_greedily(&spec.reference.gguf, spec.greedy_tokens as usize, ctx)?;
    let chosen = choices(spec, &text, ctx)?;
    let same: Vec<bool> = chosen.iter().zip(&text.tokens).map(|(a, b)| a == b).collect();
    let agreeing = same.iter().filter(|same| **same).count();
    Ok(GreedyAgreement {
        tokens: same.len(),
        agreeing_prefix: same.iter().position(|same| !same).unwrap_or(same.len()),
        share: agreeing as f64 / same.len() as f64,
    })
}

fn generate_greedily(path: &Utf8Path, count: usize, ctx: &Context<'_>) -> Result<Text, StepError> {
    let failed = |e: &_| model_error(path, e);
    let loaded = Loaded::open(path, &options(ctx))?;
    loaded.warn(ctx);
    let prompt = prompt::fixed(path, &loaded.tokenizer, PROMPT_TOKENS)?;
    let mut session = loaded.session(PROMPT_TOKENS + count, ctx)?;
    let generation = Generation { max_tokens: count, sampling: Sampling::GREEDY, stop: &[] };
    let tokens = generate(&mut session, &prompt, &generation, |_| match ctx.check_cancelled() {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })
    .map_err(|e| failed(&e))?;
    ctx.check_cancelled()?;
    Ok(Text { prompt, tokens })
}

/// The token that the file would choose at each place of `text`, given what stands before it.
fn choices(spec: &CompareSpec, text: &Text, ctx: &Context<'_>) -> Result<Vec<u32>, StepError> {
    let path = &spec.gguf;
    let failed = |e: &_| model_error(path, e);
    let loaded = Loaded::open(path, &options(ctx))?;
    loaded.warn(ctx);
    let prompt = prompt::fixed(path, &loaded.tokenizer, PROMPT_TOKENS)?;
    if prompt != text.prompt {
        return Err(StepError::new(
            ErrorClass::Input,
            format!(
                "{path} and the reference {} spell the fixed prompt in different tokens; expected \
                 two files with the same vocabulary",
                spec.reference.gguf
            ),
        ));
    }
    let vocab = loaded.model.vocab_size();
    let Some((_, forced)) = text.tokens.split_last() else { return Ok(Vec::new()) };
    let room = PROMPT_TOKENS + text.tokens.len();
    let mut session = loaded.session(room, ctx)?;
    let first = session.forward(&prompt, LogitsFor::Last).map_err(|e| failed(&e))?;
    let mut chosen = vec![choose(path, first)?];
    for tokens in forced.chunks(CHUNK) {
        ctx.check_cancelled()?;
        let rows = session.forward(tokens, LogitsFor::All).map_err(|e| failed(&e))?;
        for row in rows.chunks_exact(vocab) {
            chosen.push(choose(path, row)?);
        }
    }
    Ok(chosen)
}

fn choose(path: &Utf8Path, logits: &[f32]) -> Result<u32, StepError> {
    if logits.iter().any(|l| !l.is_finite()) {
        return Err(StepError::new(
            ErrorClass::Input,
            format!("{path}: logits are not finite; qrun check {path} says more"),
        ));
    }
    Ok(sampler::greedy(logits))
}

fn options(ctx: &Context<'_>) -> ModelOptions {
    ModelOptions { threads: ctx.threads, exact: false, kv_cache: None }
}
