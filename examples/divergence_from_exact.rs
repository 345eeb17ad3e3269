//! How far 8-bit activations move a file's probabilities: KL divergence of the default mode, and of
//! what another engine made of the same file, from the exact mode.
//!
//! ```text
//! llama-perplexity -m FILE.gguf -f TEXT -c 512 -fa off --kl-divergence-base LOGITS
//! cargo run --release --example divergence_from_exact -- FILE.gguf TEXT --logits LOGITS
//! ```
//!
//! The windows and the scored tokens are llama-perplexity's; `scripts/compare_divergence.py` runs
//! both for the files that a test holds to its numbers.

use std::error::Error;
use std::fs;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use camino::Utf8PathBuf;
use clap::Parser;
use qrun::gguf::{File, TensorSource};
use qrun::model::{LogitsFor, Model, ModelOptions};
use qrun::stats::divergence::{Divergence, TokenDivergence};
use qrun::stats::perplexity::log_softmax;
use qrun::tokenizer::{Special, Tokenizer};
use serde_json::json;

/// Compare the default mode, and another engine's logits, with the exact mode
#[derive(Parser)]
struct Args {
    /// GGUF file
    file: Utf8PathBuf,
    /// UTF-8 text
    text: Utf8PathBuf,
    /// What llama-perplexity wrote for the same file and text with `--kl-divergence-base`
    #[arg(long, value_name = "FILE")]
    logits: Option<Utf8PathBuf>,
    /// Tokens per window
    #[arg(long, value_name = "N", default_value_t = 512)]
    context: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let file = Arc::new(File::open(&args.file)?);
    let tokenizer = Tokenizer::from_gguf(file.metadata())?;
    let mut tokens = tokenizer.encode(&fs::read_to_string(&args.text)?, Special::AsText);
    tokens.truncate(tokens.len() / args.context * args.context);
    let load = |exact| {
        let options = ModelOptions { threads: 2, exact, kv_cache: None };
        Model::load(file.clone(), &options)
    };
    let (exact, default) = (load(true)?, load(false)?);
    let vocab = exact.vocab_size();
    let mut theirs =
        args.logits.map(|path| Stored::open(path, args.context, vocab, &tokens)).transpose()?;

    let (mut own, mut other) = (Divergence::default(), Divergence::default());
    let mut more = Vec::new();
    let mut sessions = [exact.session(args.context)?, default.session(args.context)?];
    let (mut p, mut q) = (vec![0.0; vocab], vec![0.0; vocab]);
    for window in tokens.chunks_exact(args.context) {
        let (unscored, scored) = window[..args.context - 1].split_at(args.context / 2);
        for session in &mut sessions {
            session.clear();
            session.forward(unscored, LogitsFor::None)?;
            session.forward(scored, LogitsFor::All)?;
        }
        let [exact, default] = sessions.each_ref().map(|s| s.logits().chunks_exact(vocab));
        for (exact, default) in exact.zip(default) {
            log_softmax(exact, &mut p);
            log_softmax(default, &mut q);
            let ours = TokenDivergence::of(&p, &q);
            own.add(ours);
            if let Some(stored) = &mut theirs {
                stored.row(&mut q)?;
                let theirs = TokenDivergence::of(&p, &q);
                other.add(theirs);
                more.push(ours.kl - theirs.kl);
            }
        }
    }
    // How much further off the default mode is, token by token, and the mean's standard error.
    let n = more.len().max(1) as f64;
    let mean = more.iter().sum::<f64>() / n;
    let variance = more.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let more = json!({"mean": mean, "standard_error": (variance / n).sqrt()});
    let answer = json!({"default": own.summary(), "logits": other.summary(), "more": more});
    println!("{answer:#}");
    Ok(())
}

/// llama-perplexity's store of log-probabilities, read row after row: `_logits_`, the window, the
/// vocabulary and the windows as `i32`, all tokens, then for each scored token scale and minimum as
/// floats and 16 bits for each entry of the vocabulary, an even number of them.
struct Stored {
    reader: BufReader<fs::File>,
    vocab: usize,
}

impl Stored {
    fn open(path: Utf8PathBuf, context: usize, vocab: usize, tokens: &[u32]) -> io::Result<Self> {
        let mut reader = BufReader::new(fs::File::open(path)?);
        let windows = tokens.len() / context;
        let sizes = [context, vocab, windows].into_iter().map(|n| n as u32);
        let numbers = sizes.chain(tokens.iter().copied()).flat_map(u32::to_le_bytes);
        let expected: Vec<u8> = b"_logits_".iter().copied().chain(numbers).collect();
        let mut found = vec![0; expected.len()];
        reader.read_exact(&mut found)?;
        if found != expected {
            return Err(io::Error::other("the logits are of another text, window or vocabulary"));
        }
        Ok(Self { reader, vocab })
    }

    /// Reads a row. What is 16 below the largest logit or less is stored as 16 below, so the
    /// probabilities add up to a little more than one, and are not scaled to one here: that would
    /// spoil the others.
    fn row(&mut self, log_probabilities: &mut [f64]) -> io::Result<()> {
        let mut bytes = vec![0; 8 + 2 * self.vocab.next_multiple_of(2)];
        self.reader.read_exact(&mut bytes)?;
        let (floats, levels) = bytes.split_at(8);
        let [scale, min] = [&floats[..4], &floats[4..]]
            .map(|b| b.try_into().map(f32::from_le_bytes).unwrap_or_default());
        for (out, &level) in log_probabilities.iter_mut().zip(levels.as_chunks().0) {
            *out = (scale * f32::from(u16::from_le_bytes(level)) + min).into();
        }
        Ok(())
    }
}
