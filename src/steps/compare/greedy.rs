//! How far two files generate the same tokens greedily.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use camino::Utf8Path;

use super::GreedyAgreement;
use crate::model::sampler::{self, Sampling};
use crate::model::{Generation, LogitsFor, ModelOptions, generate};
use crate::steps::{CompareSpec, Context, Loaded, StepError, model_error, prompt};

/// Tokens of the fixed prompt.
const PROMPT_TOKENS: usize = 64;
/// Tokens of whose places the logits are held at a time: 51 MB for a vocabulary of 201,088.
const CHUNK: usize = 64;

/// What a file makes of the fixed prompt.
struct Text {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
}

/// Generates with each reference, then asks each file at each of those tokens what it would choose.
/// One of them is loaded at a time, and each once.
///
/// # Errors
/// Of each comparison [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a file is no model,
/// or their vocabularies differ over the prompt;
/// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if there are more tokens than the model's
/// context has room for.
pub fn agreements(
    steps: &[(&CompareSpec, &Context<'_>)],
) -> Vec<Result<GreedyAgreement, StepError>> {
    let reference = |spec: &CompareSpec| (spec.reference.gguf.path.clone(), spec.greedy_tokens);
    let mut texts = BTreeMap::new();
    for (spec, _) in steps {
        texts.entry(reference(spec)).or_insert_with_key(|of| {
            let same = steps.iter().filter(|(spec, _)| reference(spec) == *of);
            let contexts: Vec<_> = same.map(|(_, ctx)| *ctx).collect();
            generate_greedily(&of.0, of.1 as usize, &contexts)
        });
    }
    let mut agreements = BTreeMap::new();
    for (spec, ctx) in steps {
        let path = &spec.gguf.path;
        let same = || steps.iter().enumerate().filter(|(_, (spec, _))| spec.gguf.path == *path);
        if same().any(|(number, _)| agreements.contains_key(&number)) {
            continue;
        }
        let loaded = Loaded::open(path, &options(ctx));
        for (number, (spec, ctx)) in same() {
            let agreement = || {
                let loaded = loaded.as_ref().map_err(StepError::clone)?;
                loaded.warn(ctx);
                let text = texts[&reference(spec)].as_ref().map_err(StepError::clone)?;
                Ok(agreement(&choices(spec, loaded, text, ctx)?, text))
            };
            agreements.insert(number, agreement());
        }
    }
    agreements.into_values().collect()
}

fn agreement(chosen: &[u32], text: &Text) -> GreedyAgreement {
    let same: Vec<bool> = chosen.iter().zip(&text.tokens).map(|(a, b)| a == b).collect();
    let agreeing = same.iter().filter(|same| **same).count();
    GreedyAgreement {
        tokens: same.len(),
        agreeing_prefix: same.iter().position(|same| !same).unwrap_or(same.len()),
        share: agreeing as f64 / same.len() as f64,
    }
}

/// What the file makes of the prompt, for comparisons with these contexts.
fn generate_greedily(
    path: &Utf8Path,
    count: usize,
    contexts: &[&Context<'_>],
) -> Result<Text, StepError> {
    let failed = |e: &_| model_error(path, e);
    let ctx = contexts[0];
    let loaded = Loaded::open(path, &options(ctx))?;
    contexts.iter().for_each(|ctx| loaded.warn(ctx));
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
fn choices(
    spec: &CompareSpec,
    loaded: &Loaded,
    text: &Text,
    ctx: &Context<'_>,
) -> Result<Vec<u32>, StepError> {
    let path = &spec.gguf;
    let failed = |e: &_| model_error(path, e);
    let prompt = prompt::fixed(path, &loaded.tokenizer, PROMPT_TOKENS)?;
    if prompt != text.prompt {
        return Err(StepError::input(format!(
            "{path} and the reference {} spell the fixed prompt in different tokens; expected \
            two files with the same vocabulary",
            spec.reference.gguf
        )));
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
        return Err(StepError::input(format!(
            "{path}: logits are not finite; qrun check {path} says more"
        )));
    }
    Ok(sampler::greedy(logits))
}

fn options(ctx: &Context<'_>) -> ModelOptions {
    ModelOptions { threads: ctx.threads, exact: false, kv_cache: None }
}
