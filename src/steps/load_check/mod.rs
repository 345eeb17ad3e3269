//! The load check: whether a file is whole, is the model it says it is, and computes.
//!
//! How long that may take is for whoever started this process to say.

mod elsewhere;
mod finite;
mod spec;

use std::ops::ControlFlow;
use std::time::Instant;

use camino::Utf8Path;

use super::loaded::{Loaded, model_error};
use super::{Context, ErrorClass, Level, StepError, prompt};
use crate::compute::ThreadPool;
use crate::gguf::TensorSource;
use crate::model::sampler::Sampling;
use crate::model::{Generation, LogitsFor, ModelOptions, generate};

pub use spec::{LoadCheckResult, LoadCheckSpec};

/// Tokens of the fixed prompt that are read.
const PROMPT_TOKENS: usize = 32;
/// Tokens that are generated after them.
const GENERATE_TOKENS: usize = 16;

/// Checks the file; every check that it passes goes into the log.
///
/// # Errors
/// [`ErrorClass::Input`] saying which check failed, where, what was expected and what was found.
pub fn run(spec: &LoadCheckSpec, ctx: &Context<'_>) -> Result<LoadCheckResult, StepError> {
    let mut passed = Passed { ctx, checks: Vec::new() };

    let started = Instant::now();
    let options = ModelOptions { threads: ctx.threads, exact: false, kv_cache: None };
    let loaded = Loaded::open(&spec.gguf, &options)?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    loaded.warn(ctx);
    elsewhere::check(&loaded.file, ctx)?;
    let Loaded { file, model, tokenizer } = &loaded;
    passed.note(format!(
        "the header holds: GGUF version {}, {} metadata pairs, {} tensors, each aligned, inside \
        the file and apart from the others",
        file.version(),
        file.metadata().iter().len(),
        file.tensors().len(),
    ));
    passed.note(format!(
        "every tensor of {} is there, in a type and a shape that fit the metadata",
        model.architecture()
    ));
    vocabulary_fits(&spec.gguf, tokenizer.vocab_size(), model.vocab_size())?;
    passed.note(format!("the vocabulary loads and has the model's {} tokens", model.vocab_size()));

    let pool =
        ThreadPool::new(ctx.threads).map_err(|e| StepError::from_error(ErrorClass::Host, &e))?;
    finite::check(file, &pool, ctx)?;
    let weights: u64 = file.tensors().iter().map(|t| t.elements()).sum();
    passed.note(format!("all {weights} weights are finite"));

    let in_file = |e: &_| model_error(&spec.gguf, e);
    let prompt = prompt::fixed(&spec.gguf, tokenizer, PROMPT_TOKENS)?;
    let mut session = loaded.session(PROMPT_TOKENS + GENERATE_TOKENS, ctx)?;
    let logits = session.forward(&prompt, LogitsFor::All).map_err(|e| in_file(&e))?;
    logits_are_sound(&spec.gguf, logits, model.vocab_size())?;
    passed.note(format!("a forward pass over {PROMPT_TOKENS} tokens gives finite logits"));

    session.clear();
    let generation =
        Generation { max_tokens: GENERATE_TOKENS, sampling: Sampling::GREEDY, stop: &[] };
    let tokens = generate(&mut session, &prompt, &generation, |_| match ctx.check_cancelled() {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })
    .map_err(|e| in_file(&e))?;
    ctx.check_cancelled()?;
    let sample = tokenizer.decode(&tokens);
    passed.note(format!("{} tokens generated: {sample:?}", tokens.len()));

    Ok(LoadCheckResult {
        architecture: model.architecture().to_owned(),
        tensors: file.tensors().len(),
        load_ms,
        sample,
        checks: passed.checks,
    })
}

/// The checks passed so far.
struct Passed<'a> {
    ctx: &'a Context<'a>,
    checks: Vec<String>,
}

impl Passed<'_> {
    fn note(&mut self, check: String) {
        self.ctx.log(Level::Info, check.clone());
        self.checks.push(check);
    }
}

fn vocabulary_fits(path: &Utf8Path, tokens: usize, rows: usize) -> Result<(), StepError> {
    if tokens == rows {
        return Ok(());
    }
    Err(StepError::input(format!(
        "{path}: the vocabulary has {tokens} tokens and the model's output {rows} rows; \
        expected as many of one as of the other"
    )))
}

/// Every logit is finite, and not all of a row are the same.
fn logits_are_sound(path: &Utf8Path, logits: &[f32], vocab: usize) -> Result<(), StepError> {
    for (position, row) in logits.chunks_exact(vocab).enumerate() {
        if let Some(token) = row.iter().position(|l| !l.is_finite()) {
            return Err(StepError::input(format!(
                "{path}: the logit of token {token} after position {position} of the fixed \
                prompt is {}; expected a finite number: the weights overflow",
                row[token]
            )));
        }
        if vocab > 1 && row.iter().all(|l| *l == row[0]) {
            return Err(StepError::input(format!(
                "{path}: all {vocab} logits after position {position} of the fixed prompt are \
                {}; expected them to differ: the output weights are lost",
                row[0]
            )));
        }
    }
    Ok(())
}
