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
    for (part, after) in trailing_bytes(file) {
        let message = "after the last tensor's data, which belong to nothing; llama.cpp ignores \
                       them: the file may have been written over a longer one, or joined wrongly";
        ctx.log(Level::Warn, format!("{after} bytes of {part} {message}"));
    }
    for warning in Tokenizer::warnings(file.metadata()) {
        ctx.log(Level::Warn, warning);
    }
    Ok(())
}

/// The name of each part of the file that has bytes after its last tensor and the padding, with their
/// number.
fn trailing_bytes(file: &File) -> Vec<(&str, u64)> {
    let after = file.parts().enumerate().filter_map(|(number, (path, bytes))| {
        let tensors = (0..file.tensors().len()).filter(|&t| file.part(t) == number);
        let last = tensors.map(|t| file.range(t).end as u64).max();
        // Only the first part may have none.
        let end = last.or((number == 0).then(|| file.data_start()))?;
        let after = bytes.saturating_sub(end.next_multiple_of(file.alignment()));
        (after > 0).then(|| (path.file_name().unwrap_or(path.as_str()), after))
    });
    after.collect()
}
