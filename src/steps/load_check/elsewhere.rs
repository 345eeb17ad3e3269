//! What llama.cpp's loader refuses or warns of in a file that this program can compute with. Types
//! of hyperparameters and of the vocabulary, and tensors that the architecture does not have, are
//! refused already where the model is loaded.

use crate::gguf::{File, TensorSource, Value};
use crate::steps::{Context, ErrorClass, Level, StepError};
use crate::tokenizer::Tokenizer;

/// Fails at what llama.cpp refuses; warns of what it warns of.
pub fn check(file: &File, ctx: &Context<'_>) -> Result<(), StepError> {
    let path = file.path();
    let wrong_type = |key: &str, expected: &str, found: &Value| {
        StepError::new(
            ErrorClass::Input,
            format!(
                "{path}: metadata: {key} is stored as {}; expected {expected}, and llama.cpp \
                 refuses anything else",
                found.type_name()
            ),
        )
    };
    match file.metadata().get("general.name") {
        None | Some(Value::String(_)) => {}
        Some(other) => return Err(wrong_type("general.name", "string", other)),
    }
    match file.metadata().get("general.file_type") {
        None | Some(Value::U32(_)) => {}
        Some(other) => return Err(wrong_type("general.file_type", "u32", other)),
    }
    let after = trailing_bytes(file);
    if after > 0 {
        let message = "after the last tensor's data, which belong to nothing; llama.cpp ignores \
                       them: the file may have been written over a longer one, or joined wrongly";
        ctx.log(Level::Warn, format!("{path}: {after} bytes {message}"));
    }
    for warning in Tokenizer::warnings(file.metadata()) {
        ctx.log(Level::Warn, format!("{path}: {warning}"));
    }
    Ok(())
}

/// Bytes after the last tensor and its padding.
fn trailing_bytes(file: &File) -> u64 {
    let ends = (0..file.tensors().len()).map(|t| file.range(t).end as u64);
    let end = ends.max().unwrap_or(0).max(file.data_start());
    file.file_bytes().saturating_sub(end.next_multiple_of(file.alignment()))
}
