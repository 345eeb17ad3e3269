//! Opens what convert and quantize read: a GGUF file, or a checkpoint as convert would write it;
//! and says what it is made of, without reading it whole.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::{ConvertDtype, ErrorClass, QuantizeSource, StepError, TokenizerSource};
use crate::checkpoint::{self, Checkpoint, Converted};
use crate::files::{FileId, Stamp};
use crate::ggml::GgmlType;
use crate::gguf::{self, TensorSource};
use crate::tokenizer::Vocabulary;

impl ConvertDtype {
    /// The type of tensors.
    pub fn ggml_type(self) -> GgmlType {
        match self {
            ConvertDtype::F32 => GgmlType::F32,
            ConvertDtype::F16 => GgmlType::F16,
            ConvertDtype::Bf16 => GgmlType::BF16,
        }
    }
}

impl From<checkpoint::Error> for StepError {
    fn from(error: checkpoint::Error) -> Self {
        // Its messages carry their sources.
        StepError::new(ErrorClass::Input, error.to_string())
    }
}

impl From<gguf::Error> for StepError {
    fn from(error: gguf::Error) -> Self {
        StepError::new(ErrorClass::Input, error.to_string())
    }
}

/// The checkpoint in `directory` as a GGUF file.
///
/// # Errors
/// [`ErrorClass::Input`] if anything of it or of the vocabulary is missing or damaged.
pub fn open_checkpoint(
    directory: &Utf8Path,
    tokenizer: &TokenizerSource,
    dtype: ConvertDtype,
) -> Result<Converted, StepError> {
    let checkpoint = Checkpoint::open(directory)?;
    let vocab_size = checkpoint.config().vocab;
    let input = |e: &dyn std::error::Error| StepError::from_error(ErrorClass::Input, e);
    let vocabulary = match tokenizer {
        TokenizerSource::Checkpoint => {
            if !directory.join("tokenizer.json").is_file() {
                return Err(no_tokenizer(directory));
            }
            Vocabulary::from_directory(directory, vocab_size)
        }
        TokenizerSource::Directory(other) => Vocabulary::from_directory(other, vocab_size),
        TokenizerSource::O200kHarmony => {
            Vocabulary::o200k_harmony(vocab_size, chat_template(directory)?)
        }
    }
    .map_err(|e| input(&e))?;
    Ok(Converted::new(checkpoint, vocabulary, dtype.ggml_type())?)
}

/// The original layout comes without a tokenizer, so this happens to everybody once.
fn no_tokenizer(directory: &Utf8Path) -> StepError {
    StepError::new(
        ErrorClass::Input,
        format!(
            "{directory} has no tokenizer.json; say where the vocabulary comes from: \
             o200k_harmony, the built-in one of gpt-oss, or a directory with tokenizer.json \
             (`tokenizer` under [input] in a manifest, --tokenizer on the command line)"
        ),
    )
}

/// The chat template of a checkpoint whose vocabulary is the built-in one.
fn chat_template(directory: &Utf8Path) -> Result<Option<String>, StepError> {
    let path = directory.join("chat_template.jinja");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StepError::new(ErrorClass::Input, format!("cannot read {path}: {e}"))),
    }
}

/// Opens what quantize reads.
///
/// # Errors
/// [`ErrorClass::Input`] if it is missing or damaged.
pub fn open_source(source: &QuantizeSource) -> Result<Box<dyn TensorSource>, StepError> {
    Ok(match source {
        QuantizeSource::Gguf(path) => Box::new(gguf::File::open(path)?),
        QuantizeSource::Checkpoint { directory, tokenizer, dtype } => {
            Box::new(open_checkpoint(directory, tokenizer, *dtype)?)
        }
    })
}

/// Refuses an output that is one of the files it is made from, by whichever name: replacing it
/// would lose the better of the two.
///
/// # Errors
/// [`ErrorClass::Usage`] if it is.
pub(super) fn refuse_own_input(inputs: &[Utf8PathBuf], out: &Utf8Path) -> Result<(), StepError> {
    let Ok(target) = FileId::of(out) else { return Ok(()) };
    match inputs.iter().find(|input| FileId::of(input).is_ok_and(|id| id == target)) {
        None => Ok(()),
        Some(input) => Err(StepError::new(
            ErrorClass::Usage,
            format!(
                "{out} is the input {input} itself, which is not overwritten; choose another name"
            ),
        )),
    }
}

/// The files whose contents decide the tensors of `source`.
///
/// # Errors
/// [`ErrorClass::Input`] if a checkpoint's files cannot be listed.
pub(super) fn weight_files(source: &QuantizeSource) -> Result<Vec<Utf8PathBuf>, StepError> {
    match source {
        QuantizeSource::Gguf(path) => Ok(vec![path.clone()]),
        QuantizeSource::Checkpoint { directory, .. } => {
            let names = Checkpoint::file_names(directory)?;
            Ok(names.into_iter().map(|name| directory.join(name)).collect())
        }
    }
}

/// What tells one state of `files` from another without reading them: path, size, times, inode and
/// device of each.
///
/// # Errors
/// [`ErrorClass::Input`] if a file is missing.
pub(super) fn identity(files: &[Utf8PathBuf]) -> Result<String, StepError> {
    let mut identity = String::new();
    for path in files {
        let stamp = Stamp::of_input(path)
            .map_err(|e| StepError::new(ErrorClass::Input, format!("cannot read {path}: {e}")))?;
        identity.push_str(&format!("{path}\0{stamp:?}\n"));
    }
    Ok(identity)
}
