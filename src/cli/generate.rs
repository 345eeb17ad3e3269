//! `qrun generate`: continue a prompt with a file at hand.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::direct::Threads;
use super::model_args::kv_cache;
use super::{CliError, interrupt, output};
use crate::model::sampler::Sampling;
use crate::model::{Generation, KvCacheType, ModelError, ModelOptions, Token, generate};
use crate::steps::{ErrorClass, Loaded, StepError, model_error};
use crate::tokenizer::{Special, TextStream, Tokenizer};

/// Continue a prompt
///
/// Text goes to standard output as it is generated, until N tokens or the model's end token.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF file of the model
    file: Utf8PathBuf,
    /// Text to continue; special tokens may be spelled, as in `<|start|>user<|message|>...`
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Tokens to generate at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    tokens: usize,
    /// Randomness: 0 always takes the most likely token, 1 follows the model's probabilities
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true, value_parser = temperature)]
    temperature: f32,
    /// Sample from the K most likely tokens only; 0: from all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Sample from the most likely tokens whose probabilities reach P together; 1: from all
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true, value_parser = probability)]
    top_p: f32,
    /// Start of the random numbers: the same seed gives the same text
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Float activations instead of 8-bit ones: slow, and the measure of every faster way
    #[arg(long)]
    exact: bool,
    /// Type that keys and values are kept in: f16, q8_0 (half the memory) or f32
    /// [default: f16; with --exact f32]
    #[arg(long, value_name = "TYPE", value_parser = kv_cache)]
    kv_cache: Option<KvCacheType>,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON when done: prompt tokens, and each token with its logit and the runner-up's
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Default, Serialize)]
struct Shown {
    prompt_tokens: Vec<u32>,
    tokens: Vec<ShownToken>,
    /// What was generated, without the end token.
    text: String,
}

#[derive(Serialize)]
struct ShownToken {
    id: u32,
    /// What the token adds to the text: nothing while a character is not whole.
    text: String,
    logit: f32,
    /// The best token that was not taken; `null` in a vocabulary of one.
    runner_up: Option<RunnerUp>,
}

#[derive(Serialize)]
struct RunnerUp {
    id: u32,
    logit: f32,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let cancelled = interrupt::flag();
    let options =
        ModelOptions { threads: args.threads.count(), exact: args.exact, kv_cache: args.kv_cache };
    let Loaded { model, tokenizer, .. } = Loaded::open(&args.file, &options)?;
    for warning in model.warnings() {
        output::note(&format!("warning: {}: {warning}", args.file));
    }
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
    let prompt: Vec<u32> =
        bos.into_iter().chain(tokenizer.encode(&args.prompt, Special::Parse)).collect();

    let generation = Generation {
        max_tokens: args.tokens,
        sampling: Sampling {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            seed: args.seed,
        },
        stop: tokenizer.end_of_generation(),
    };
    let mut printer = Printer {
        tokenizer: &tokenizer,
        stream: tokenizer.stream(),
        json: args.json,
        shown: Shown { prompt_tokens: prompt.clone(), ..Shown::default() },
        failed: None,
    };
    let failed = |e| model_error(&args.file, &e);
    let room = prompt.len().saturating_add(args.tokens);
    let mut session = model.session(room).map_err(failed)?.stopped_by(&cancelled);
    let generated = generate(&mut session, &prompt, &generation, |token| {
        if cancelled.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        printer.take(token)
    });
    match generated {
        // What came before is shown.
        Ok(_) | Err(ModelError::Interrupted) => {}
        Err(e) => return Err(failed(e).into()),
    }
    printer.finish()?;
    if cancelled.load(Ordering::Relaxed) {
        return Err(StepError::new(ErrorClass::Interrupted, "interrupted").into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints text as it comes, or keeps it for the JSON.
struct Printer<'t> {
    tokenizer: &'t Tokenizer,
    stream: TextStream<'t>,
    json: bool,
    shown: Shown,
    failed: Option<CliError>,
}

impl Printer<'_> {
    fn take(&mut self, token: &Token) -> ControlFlow<()> {
        let text = match self.tokenizer.is_end_of_generation(token.id) {
            true => String::new(),
            false => self.stream.push(token.id),
        };
        if let Err(e) = self.print(&text) {
            self.failed = Some(e);
            return ControlFlow::Break(());
        }
        self.shown.text.push_str(&text);
        self.shown.tokens.push(ShownToken {
            id: token.id,
            text,
            logit: token.logit,
            runner_up: token.runner_up.map(|(id, logit)| RunnerUp { id, logit }),
        });
        ControlFlow::Continue(())
    }

    fn finish(mut self) -> Result<(), CliError> {
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        let rest = std::mem::replace(&mut self.stream, self.tokenizer.stream()).finish();
        self.print(&rest)?;
        self.shown.text.push_str(&rest);
        if self.json {
            output::print_json(&self.shown)?;
        } else if !self.shown.text.ends_with('\n') {
            output::print_part("\n")?;
        }
        Ok(())
    }

    fn print(&self, text: &str) -> Result<(), CliError> {
        if self.json { Ok(()) } else { output::print_part(text) }
    }
}

fn temperature(text: &str) -> Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|t| t.is_finite() && *t >= 0.0);
    value.ok_or_else(|| "expected a number, zero or more".to_owned())
}

fn probability(text: &str) -> Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|p| *p > 0.0 && *p <= 1.0);
    value.ok_or_else(|| "expected a number above 0 and up to 1".to_owned())
}
