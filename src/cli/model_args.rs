//! What the commands that write models have in common: how a checkpoint is read, where an
//! unfinished file is remembered, and what is printed of a finished one.

use std::process::ExitCode;

use bytesize::ByteSize;
use camino::{Utf8Path, Utf8PathBuf};

use super::direct::Threads;
use super::{CliError, output, path_arg};
use crate::model::KvCacheType;
use crate::steps::{ConvertDtype, QuantizeSource, TokenizerSource, WriteResult};

/// How a checkpoint becomes a GGUF model.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckpointArgs {
    /// Type of the tensors that are not MXFP4 already: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = dtype)]
    pub dtype: ConvertDtype,
    /// `o200k_harmony` for the built-in vocabulary, or a directory with tokenizer.json
    /// [default: the checkpoint's own]
    #[arg(long, value_name = "NAME|DIR", value_parser = tokenizer)]
    pub tokenizer: Option<TokenizerSource>,
}

impl CheckpointArgs {
    /// Where the vocabulary comes from.
    pub fn tokenizer(&self) -> TokenizerSource {
        self.tokenizer.clone().unwrap_or(TokenizerSource::Checkpoint)
    }

    /// What `path` is: a checkpoint if it is a directory, else a GGUF file.
    pub fn source(&self, path: &Utf8Path) -> QuantizeSource {
        if path.is_dir() {
            QuantizeSource::Checkpoint {
                directory: path.into(),
                tokenizer: self.tokenizer(),
                dtype: self.dtype,
            }
        } else {
            QuantizeSource::Gguf(path.into())
        }
    }
}

/// How a model is written.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    /// Write parts of at most SIZE, such as 45GB, called OUT-00001-of-00003.gguf, as llama-gguf-split
    /// does
    #[arg(long, value_name = "SIZE", value_parser = split)]
    pub split: Option<u64>,
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    /// Replace OUT.gguf if it exists
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub threads: Threads,
    /// Print JSON: the file with its SHA-256, and each tensor with its own
    #[arg(long)]
    pub json: bool,
}

/// The directory of `out`: without a workspace the journal of an unfinished file is beside it.
pub fn beside(out: &Utf8Path) -> Utf8PathBuf {
    match out.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent.to_owned(),
        _ => Utf8PathBuf::from("."),
    }
}

fn dtype(text: &str) -> Result<ConvertDtype, String> {
    match text.to_ascii_lowercase().as_str() {
        "f32" => Ok(ConvertDtype::F32),
        "f16" => Ok(ConvertDtype::F16),
        "bf16" => Ok(ConvertDtype::Bf16),
        _ => Err("expected f32, f16 or bf16".to_owned()),
    }
}

/// What keys and values are kept in, as typed.
///
/// # Errors
/// What could have been typed.
pub fn kv_cache(text: &str) -> Result<KvCacheType, String> {
    match text.to_ascii_lowercase().as_str() {
        "f16" => Ok(KvCacheType::F16),
        "q8_0" => Ok(KvCacheType::Q8_0),
        "f32" => Ok(KvCacheType::F32),
        _ => Err("expected f16, q8_0 or f32".to_owned()),
    }
}

/// The size of a part.
fn split(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => {
            Err("parts of no size hold nothing; expected a size such as 45GB".to_owned())
        }
        Ok(size) => Ok(size.0),
        Err(_) => Err("expected a size such as 45GB or 500MB".to_owned()),
    }
}

fn tokenizer(text: &str) -> Result<TokenizerSource, String> {
    if text == "o200k_harmony" {
        return Ok(TokenizerSource::O200kHarmony);
    }
    let directory = path_arg::path(text)?;
    if directory.join("tokenizer.json").is_file() {
        Ok(TokenizerSource::Directory(directory.into()))
    } else {
        Err("expected o200k_harmony or a directory with tokenizer.json".to_owned())
    }
}

/// Prints what was written.
///
/// # Errors
/// If standard output cannot be written.
pub fn print_written(results: &[WriteResult], json: bool) -> Result<ExitCode, CliError> {
    if json {
        return output::print_one_or_all(results);
    }
    for result in results {
        let mut text = format!(
            "{}: {}, {} tensors, {:.2} bits per weight\nSHA-256 {}",
            result.output.path,
            ByteSize(result.bytes()).display().si(),
            result.tensors.len(),
            result.bits_per_weight,
            result.output.sha256
        );
        for part in result.parts.iter().skip(1) {
            text.push_str(&format!("\n{}\nSHA-256 {}", part.path, part.sha256));
        }
        output::tell(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}
