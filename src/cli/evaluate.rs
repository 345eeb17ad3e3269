//! `qrun evaluate`: perplexity of a file over a text, and its KL divergence from a reference.

use std::process::ExitCode;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::direct::{Threads, look_at, run_step};
use super::model_args::kv_cache;
use super::{CliError, Globals, output};
use crate::model::KvCacheType;
use crate::stats::divergence::KlSummary;
use crate::steps::evaluate::{self, EvaluateResult};
use crate::steps::{EvaluateSpec, FileRef, ReferenceFile, SpecialTokens};

/// PlannedModel perplexity over a text, and KL divergence from a reference
///
/// The text is cut into windows; the second half of each is scored, as llama-perplexity does it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GGUF file to evaluate
    file: Utf8PathBuf,
    /// GGUF file to compare with, such as the unquantized model
    #[arg(long, value_name = "GGUF")]
    reference: Option<Utf8PathBuf>,
    /// UTF-8 text to evaluate on; may be given more than once
    #[arg(long, value_name = "TEXT", required = true)]
    corpus: Vec<Utf8PathBuf>,
    /// Tokens per window
    #[arg(long, value_name = "N", default_value_t = 512)]
    context: u32,
    /// Windows at most, from the start of the text [default: all]
    #[arg(long, value_name = "N")]
    windows: Option<u32>,
    /// What text that spells a special token becomes: that token where llama-perplexity takes it
    /// for one, as `<|start|>`, or text
    #[arg(long, value_name = "HOW", default_value = "parse")]
    special_tokens: HowSpecial,
    /// Float activations instead of 8-bit ones: slow, and the measure of every faster way
    #[arg(long)]
    exact: bool,
    /// Type that keys and values are kept in: f16, q8_0 (half the memory) or f32
    /// [default: f16; with --exact f32]
    #[arg(long, value_name = "TYPE", value_parser = kv_cache)]
    kv_cache: Option<KvCacheType>,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// [`SpecialTokens`] on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum HowSpecial {
    Parse,
    Literal,
}

impl From<HowSpecial> for SpecialTokens {
    fn from(how: HowSpecial) -> Self {
        match how {
            HowSpecial::Parse => SpecialTokens::Parse,
            HowSpecial::Literal => SpecialTokens::Literal,
        }
    }
}

/// What is printed: the result with its one reference in place.
#[derive(Serialize)]
struct Shown {
    tokens: u64,
    windows: u64,
    perplexity: f64,
    perplexity_stderr: f64,
    special_tokens: SpecialTokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    kl_divergence: Option<KlSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_token_agreement: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_perplexity: Option<f64>,
}

/// Runs the command.
pub fn run(args: &Args, globals: &Globals) -> Result<ExitCode, CliError> {
    look_at(
        std::iter::once(&args.file).chain(&args.reference).map(Utf8PathBuf::as_path),
        args.context.into(),
        args.corpus.iter().map(Utf8PathBuf::as_path),
    )?;
    let reference = args.reference.clone();
    let spec = EvaluateSpec {
        gguf: (&args.file).into(),
        references: reference
            .map(|gguf| ReferenceFile { name: "reference".to_owned(), gguf: gguf.into() })
            .into_iter()
            .collect(),
        corpus: args.corpus.iter().map(FileRef::from).collect(),
        context: args.context,
        max_windows: args.windows,
        exact: args.exact,
        special_tokens: args.special_tokens.into(),
        kv_cache: args.kv_cache,
    };
    let label = format!("evaluate {}", args.file);
    let result = run_step(globals, args.threads, &label, |ctx| evaluate::run(&spec, ctx))?;
    let shown = Shown::new(&result, args.special_tokens.into());
    if args.json {
        return output::print_dated_json(&shown);
    }
    output::tell(&shown.describe())?;
    Ok(ExitCode::SUCCESS)
}

impl Shown {
    fn new(result: &EvaluateResult, special_tokens: SpecialTokens) -> Self {
        let reference = result.references.values().next();
        Self {
            tokens: result.tokens,
            windows: result.windows,
            perplexity: result.perplexity,
            perplexity_stderr: result.perplexity_stderr,
            special_tokens,
            kl_divergence: reference.map(|r| r.kl_divergence),
            top_token_agreement: reference.map(|r| r.top_token_agreement),
            reference_perplexity: reference.map(|r| r.perplexity),
        }
    }

    fn describe(&self) -> String {
        let mut text = format!(
            "tokens scored        {} in {} windows\nspecial tokens       {}\n\
            perplexity           {:.4} ± {:.4}\n",
            self.tokens,
            self.windows,
            match self.special_tokens {
                SpecialTokens::Parse => "parsed, as llama-perplexity does",
                SpecialTokens::Literal => "read as text",
            },
            self.perplexity,
            self.perplexity_stderr
        );
        if let Some(perplexity) = self.reference_perplexity {
            text.push_str(&format!("reference perplexity {perplexity:.4}\n"));
        }
        if let Some(KlSummary { mean, median, p99, max }) = self.kl_divergence {
            text.push_str(&format!(
                "KL divergence        mean {mean:.6}, median {median:.6}, p99 {p99:.6}, \
                max {max:.6} nats\n"
            ));
        }
        if let Some(agreement) = self.top_token_agreement {
            text.push_str(&format!("same top token       {:.2}%\n", agreement * 100.0));
        }
        text
    }
}
