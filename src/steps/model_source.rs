//! Opens what convert and quantize read: a GGUF file, or a checkpoint as convert would write it;
//! and says what it is made of, without reading it whole.

use camino::{Utf8Path, Utf8PathBuf};

use super::{ConvertDtype, ErrorClass, QuantizeSource, StepError, TokenizerSource};
use crate::arch::Architecture;
use crate::checkpoint::{self, Checkpoint, Converted};
use crate::files::{FileId, Stamp};
use crate::ggml::GgmlType;
use crate::gguf::{self, TensorSource};
use crate::tokenizer::{ChatTemplates, TokenizerError, Vocabulary, o200k_harmony_outline};

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
        StepError::input(error.to_string())
    }
}

impl From<gguf::Error> for StepError {
    fn from(error: gguf::Error) -> Self {
        StepError::input(error.to_string())
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
            if !directory.join("tokenizer.json").exists() {
                return Err(no_tokenizer(directory, checkpoint.architecture()));
            }
            Vocabulary::from_directory(directory, vocab_size)
        }
        TokenizerSource::Directory(other) => Vocabulary::from_directory(other, vocab_size),
        TokenizerSource::O200kHarmony => harmony(directory, vocab_size),
    }
    .map_err(|e| input(&e))?;
    Ok(Converted::new(checkpoint, vocabulary.into_metadata(), dtype.ggml_type())?)
}

/// The original layout comes without a tokenizer, so this happens to everybody once.
fn no_tokenizer(directory: &Utf8Path, architecture: &Architecture) -> StepError {
    let built_in = architecture.vocabularies.join(" or ");
    StepError::input(format!(
        "{directory} has no tokenizer.json; say where the vocabulary comes from: \
        {built_in}, built in for {}, or a directory with tokenizer.json \
        (`tokenizer` under [input] in a manifest, --tokenizer on the command line)",
        architecture.name
    ))
}

/// The built-in vocabulary; a template that the checkpoint in `directory` brings along wins.
fn harmony(directory: &Utf8Path, vocab_size: usize) -> Result<Vocabulary, TokenizerError> {
    let mut vocabulary = Vocabulary::o200k_harmony(vocab_size)?;
    let own = ChatTemplates::from_directory(directory)?;
    if !own.is_empty() {
        vocabulary.chat = own;
    }
    Ok(vocabulary)
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

/// [`open_source`] for a plan, which wants to know what a file would be and writes none: the lists
/// of its vocabulary are left out where their lengths can be known without making them.
///
/// # Errors
/// As [`open_source`].
pub fn outline_source(source: &QuantizeSource) -> Result<Box<dyn TensorSource>, StepError> {
    let (directory, dtype) = match source {
        QuantizeSource::Gguf(path) => return Ok(Box::new(gguf::File::outline(path)?)),
        QuantizeSource::Checkpoint {
            directory,
            tokenizer: TokenizerSource::O200kHarmony,
            dtype,
        } => (directory, dtype),
        QuantizeSource::Checkpoint { .. } => return open_source(source),
    };
    let checkpoint = Checkpoint::open(directory)?;
    let vocabulary = ChatTemplates::from_directory(directory)
        .and_then(|own| o200k_harmony_outline(checkpoint.config().vocab, own))
        .map_err(|e| StepError::from_error(ErrorClass::Input, &e))?;
    Ok(Box::new(Converted::new(checkpoint, vocabulary, dtype.ggml_type())?))
}

/// What whoever writes a model file from `source` should be told of: what does not come through, and
/// that it has no chat template.
pub fn source_warnings(source: &dyn TensorSource) -> Vec<String> {
    let mut warnings = source.warnings().to_vec();
    if source.metadata().str("tokenizer.chat_template").is_none() {
        warnings.push(
            "what it is made from has no chat template (tokenizer.chat_template), so the file has \
            none and llama.cpp's server formats conversations as ChatML, whatever the model was \
            trained on; put the model's chat_template.jinja beside its tokenizer.json"
                .to_owned(),
        );
    }
    warnings
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
        Some(input) => Err(StepError::usage(format!(
            "{out} is the input {input} itself, which is not overwritten; choose another name"
        ))),
    }
}

/// The files of the model at `path`: that one, or all parts of which it is one.
///
/// # Errors
/// [`ErrorClass::Input`] if it is damaged or a part is missing.
pub fn model_files(path: &Utf8Path) -> Result<Vec<Utf8PathBuf>, StepError> {
    Ok(gguf::File::outline(path)?.parts().map(|(path, _)| path.to_owned()).collect())
}

/// The files whose contents decide the tensors of `source`.
///
/// # Errors
/// [`ErrorClass::Input`] if they cannot be listed.
pub(super) fn weight_files(source: &QuantizeSource) -> Result<Vec<Utf8PathBuf>, StepError> {
    match source {
        QuantizeSource::Gguf(path) => model_files(path),
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
        let stamp = Stamp::of_input(path).map_err(|e| StepError::unreadable(path, &e))?;
        identity.push_str(&format!("{path}\0{stamp:?}\n"));
    }
    Ok(identity)
}
