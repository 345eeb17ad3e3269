//! What a quantized file says of itself under `qrun.*`, where it is asked to: all that its bytes are a
//! function of. No date, no path and no name that may differ while the bytes do not: the same recipe
//! gives the same file, by whichever way.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::downloads::model_files;
use crate::gguf::{Array, Metadata, Value};
use crate::steps::model_source::weight_files;
use crate::steps::{
    Context, ConvertSpec, Label, Level, Provenance, QuantizeSource, QuantizeSpec, StepError,
    TokenizerSource, UsedImatrix, VerifySpec, verify,
};

/// What all keys begin with.
const PREFIX: &str = "qrun.";

/// Version of the keys and of what they mean.
const LAYOUT: u32 = 1;

/// In the place of a digest that only reading would tell; as long as one.
const UNREAD: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Input files by the name that the file gives them, with their SHA-256.
pub(super) type Inputs = BTreeMap<String, String>;

/// The files that decide what is made of `source`, by name, and where each is: those that a plan takes
/// for its inputs.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a directory cannot be listed.
pub fn input_files(source: &QuantizeSource) -> Result<BTreeMap<String, Utf8PathBuf>, StepError> {
    let QuantizeSource::Checkpoint { directory, tokenizer, .. } = source else {
        let files = weight_files(source)?;
        let name = |part: usize| match files.len() {
            1 => "gguf".to_owned(),
            parts => format!("gguf/{:05}-of-{parts:05}", part + 1),
        };
        return Ok(files.iter().cloned().enumerate().map(|(i, path)| (name(i), path)).collect());
    };
    let mut files = BTreeMap::new();
    for path in weight_files(source)?.into_iter().chain(model_files_in(directory)?) {
        let name = path.strip_prefix(&**directory).unwrap_or(&path);
        files.insert(format!("checkpoint/{name}"), path);
    }
    if let TokenizerSource::Directory(directory) = tokenizer {
        for path in model_files_in(directory)? {
            let name = path.strip_prefix(&**directory).unwrap_or(&path);
            files.insert(format!("tokenizer/{name}"), path);
        }
    }
    Ok(files)
}

fn model_files_in(directory: &Utf8Path) -> Result<Vec<Utf8PathBuf>, StepError> {
    let names = model_files(directory)
        .map_err(|e| StepError::input(format!("cannot list {directory}: {e}")))?;
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// The inputs with their digests: those that are given, or found by reading the files.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a file cannot be read.
pub(super) fn inputs(provenance: &Provenance, ctx: &Context<'_>) -> Result<Inputs, StepError> {
    if let Some(inputs) = &*provenance.inputs {
        return Ok(inputs.clone());
    }
    let files = input_files(&provenance.made_from)?;
    let message = format!("hashing {} files of the input, which the file is to name", files.len());
    ctx.log(Level::Info, message);
    let names: BTreeMap<_, _> = files.values().map(|path| (path.to_string(), None)).collect();
    let verified =
        verify::run(&VerifySpec { directory: Label::default(), files: names.into() }, ctx)?;
    let digest = |path: &Utf8Path| {
        verified.files.iter().find(|file| file.path == path).map(|file| file.sha256.clone())
    };
    Ok(files.into_iter().filter_map(|(name, path)| Some((name, digest(&path)?))).collect())
}

/// The same, of the same length, without reading anything.
///
/// # Errors
/// As [`input_files`].
pub(super) fn unread_inputs(provenance: &Provenance) -> Result<Inputs, StepError> {
    let files = input_files(&provenance.made_from)?.into_keys();
    Ok(files.map(|name| (name, UNREAD.to_owned())).collect())
}

/// Takes from `metadata` what an earlier quantization said: it is not true of this file.
pub(super) fn clear(metadata: &mut Metadata) {
    let keys: Vec<String> = metadata.iter().map(|(key, _)| key.to_owned()).collect();
    for key in keys.iter().filter(|key| key.starts_with(PREFIX)) {
        metadata.remove(key);
    }
}

/// Says in `metadata` what the file that `spec` describes is made of, and how.
pub(super) fn set(
    metadata: &mut Metadata,
    spec: &QuantizeSpec,
    provenance: &Provenance,
    inputs: Inputs,
    imatrix: Option<&UsedImatrix>,
) {
    let text = |text: &str| Value::String(text.to_owned());
    let (names, digests) = inputs.into_iter().unzip();
    let mut say = |key: &str, value| metadata.set(format!("{PREFIX}{key}"), value);
    say("provenance.version", Value::U32(LAYOUT));
    say("input.names", Value::Array(Array::String(names)));
    say("input.sha256", Value::Array(Array::String(digests)));
    if let QuantizeSource::Checkpoint { tokenizer, dtype, .. } = &provenance.made_from {
        say("convert.version", Value::U32(ConvertSpec::KIND.version));
        say("convert.dtype", text(&word(dtype)));
        say("convert.tokenizer", text(&word(tokenizer)));
    }
    let format = &spec.format;
    say("quantize.version", Value::U32(QuantizeSpec::KIND.version));
    say("quantize.format", text(&format.base));
    say("quantize.native_mxfp4", text(&word(&spec.native_mxfp4)));
    if !format.tensors.is_empty() {
        let rules = format.tensors.iter().map(|r| format!("{}={}", r.pattern, r.ggml_type));
        say("quantize.tensors", Value::Array(Array::String(rules.collect())));
    }
    for (key, asked) in [("pure", format.pure), ("leave_output_tensor", format.leave_output_tensor)]
    {
        if asked {
            say(&format!("quantize.{key}"), Value::Bool(true));
        }
    }
    for (key, ty) in [
        ("output_tensor_type", format.output_tensor_type),
        ("token_embedding_type", format.token_embedding_type),
    ] {
        if let Some(ty) = ty {
            say(&format!("quantize.{key}"), text(ty.name()));
        }
    }
    if format.imatrix.is_some() {
        let digest = imatrix.map_or(UNREAD, |imatrix| imatrix.sha256.as_str());
        say("quantize.imatrix.sha256", text(digest));
    }
}

/// A choice as the manifest spells it.
fn word(choice: &impl Serialize) -> String {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::String(word)) => word,
        // A directory: which one does not matter, its files are among the inputs.
        Ok(serde_json::Value::Object(fields)) => fields.keys().cloned().collect(),
        Ok(other) => other.to_string(),
        Err(e) => e.to_string(),
    }
}
