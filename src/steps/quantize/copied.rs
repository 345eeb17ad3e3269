//! Tensors of types that nothing is computed with: they are copied, or the step is refused. The mixes
//! choose among the types that there are quantizers for, and need not know of others.

use crate::ggml::StoredType;
use crate::ggml::policy::{Choice, Reason};
use crate::gguf::TensorInfo;
use crate::steps::FormatSpec;

/// The type that a tensor gets: what is kept is kept whatever its type.
pub(super) fn type_of(info: &TensorInfo, choice: &Choice) -> StoredType {
    match choice.reason {
        Reason::Never(_) => info.ggml_type,
        _ => choice.ty.into(),
    }
}

/// Why tensors that can only be copied cannot be had in the types that were chosen, with an example.
pub(super) fn refusal(
    format: &FormatSpec,
    infos: &[TensorInfo],
    choices: &[Choice],
) -> Option<String> {
    let mut wanted = infos.iter().zip(choices).filter(|(info, choice)| {
        type_of(info, choice) != info.ggml_type && info.computable().is_err()
    });
    let (info, choice) = wanted.next()?;
    let more = match wanted.count() {
        0 => String::new(),
        n => format!(", and {n} more like it"),
    };
    let (name, from, to) = (&info.name, info.ggml_type, choice.ty);
    Some(format!(
        "format {}: tensor {name} would become {to}, but it is {from}{more}: that can be copied and not \
         quantized; quantize a file that has it in a type of floats, such as the one that this was made from",
        format.name
    ))
}
