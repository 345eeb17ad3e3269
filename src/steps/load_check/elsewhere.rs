//! What llama.cpp's loader refuses or warns of in a file that this program can compute with. Types
//! of hyperparameters and of the vocabulary, and tensors that the architecture does not have, are
//! refused already where the model is loaded.

use crate::gguf::{File, TensorSource, Value};
use crate::steps::{Context, Level, StepError};
use crate::tokenizer::Tokenizer;

/// Fails at what llama.cpp refuses; warns of what it warns of.
pub fn check(file: &File, ctx: &Context<'_>) -> Result<(), StepError> {
    let path = file.path();
    let wrong_type = |key: &str, expected: &str, found: &Value| {
        StepError::input(format!(
            "{path}: metadata: {key} is stored as {}; expected {expected}, and llama.cpp \
            refuses anything else",
            found.type_name()
        ))
    };
    match file.metadata().get("general.name") {
        None | Some(Value::String(_)) => {}
        Some(other) => return Err(wrong_type("general.name", "string", other)),
    }
    match file.metadata().get("general.file_type") {
        None | Some(Value::U32(_)) => {}
        Some(other) => return Err(wrong_type("general.file_type", "u32", other)),
    }
    for (part, behind) in ends(file) {
        let bytes = behind.unsigned_abs();
        let message = match behind {
            1.. => format!(
                "{bytes} bytes of {part} after the last tensor's data, which belong to nothing; \
                llama.cpp ignores them: the file may have been written over a longer one, or \
                joined wrongly"
            ),
            0 => continue,
            ..0 => format!(
                "{part} ends {bytes} bytes before the padding of its last tensor does; llama.cpp \
                loads it, but tools that read all data at once take it for cut"
            ),
        };
        ctx.log(Level::Warn, message);
    }
    for warning in Tokenizer::warnings(file.metadata()) {
        ctx.log(Level::Warn, warning);
    }
    Ok(())
}

/// The name of each part of the file, and how many bytes behind its last tensor and the padding it
/// ends.
fn ends(file: &File) -> Vec<(&str, i64)> {
    let ends = file.parts().enumerate().filter_map(|(number, (path, bytes))| {
        let tensors = (0..file.tensors().len()).filter(|&t| file.part(t) == number);
        let last = tensors.map(|t| file.range(t).end as u64).max();
        // Only the first part may have none.
        let end = last.or((number == 0).then(|| file.data_start()))?;
        let behind = bytes.cast_signed() - end.next_multiple_of(file.alignment()).cast_signed();
        Some((path.file_name().unwrap_or(path.as_str()), behind))
    });
    ends.collect()
}
