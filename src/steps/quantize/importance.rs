//! The importance matrix of a quantize step: whether it fits the model and the types that were
//! chosen, and what the quantized file says of it. As llama-quantize has it.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use super::survey::Survey;
use crate::ggml::{
    self,
    policy::{self, Choice},
};
use crate::gguf::{Imatrix, Metadata, TensorInfo, Value};
use crate::steps::write_model::matrices;
use crate::steps::{FormatSpec, ImatrixFile, UsedImatrix};

/// Bytes that llama-quantize keeps of a text which it sets in the metadata.
const LONGEST_TEXT: usize = 127;

/// What there is of importance for one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weighing {
    /// The tensor is copied, or its type has no use for importance.
    NotUsed,
    Used,
    /// There is none; the tensor is quantized without.
    Missing,
    /// There is none, and without it the tensor would be garbage.
    MissingAndNeeded,
    /// As many values as these, which is not what the tensor has.
    WrongSize(usize),
}

impl Weighing {
    /// Of the tensor `from`, for which `choice` was made.
    pub fn of(matrix: Option<&Imatrix>, from: &TensorInfo, choice: &Choice) -> Self {
        let copied = from.ggml_type == choice.ty || from.computable().is_err();
        // Some quantizers cannot do without it, whatever the tensor.
        let needed = choice.needs_importance || !copied && ggml::needs_importance(choice.ty);
        let found = match matrix {
            // Copied or not: nobody knows whether it had importance when it got its type.
            None if needed => return Weighing::MissingAndNeeded,
            None => return Weighing::NotUsed,
            Some(_) if copied => return Weighing::NotUsed,
            Some(matrix) => matrix.get(&from.name).map(|importance| importance.len()),
        };
        match found {
            // A matrix may have any number of values for the embedding: it is no matrix product.
            Some(n) if n != values(from) && !policy::is_token_embedding(&from.name) => {
                Weighing::WrongSize(n)
            }
            _ if !choice.ty.uses_importance() => Weighing::NotUsed,
            Some(n) if n == values(from) => Weighing::Used,
            _ if needed => Weighing::MissingAndNeeded,
            _ => Weighing::Missing,
        }
    }

    /// What there is to say of it beside the reason for a type.
    pub fn why(self) -> Option<&'static str> {
        match self {
            Weighing::NotUsed => None,
            Weighing::Used => Some("weighed by importance"),
            Weighing::Missing => Some("no importance is known"),
            Weighing::MissingAndNeeded => Some("needs importance"),
            Weighing::WrongSize(_) => Some("its importance is of another size"),
        }
    }
}

/// Values that a matrix should have for a tensor.
fn values(info: &TensorInfo) -> usize {
    info.columns() * matrices(info)
}

/// Why the matrix that is given does not fit, with an example; `None` where it does.
pub(super) fn misfit(
    format: &FormatSpec,
    tensors: &[TensorInfo],
    choices: &[Choice],
    importance: &[Weighing],
) -> Option<String> {
    let (name, file) = (&format.name, &format.imatrix.as_ref()?.path);
    let wrong = tensors.iter().zip(importance).find_map(|(info, importance)| match importance {
        Weighing::WrongSize(found) => Some((info, found)),
        _ => None,
    });
    if let Some((info, found)) = wrong {
        return Some(format!(
            "format {name}: the importance matrix {file} has {found} values for tensor {}, expected \
            {} ({} columns, {} matrices); use one that was measured on this very model",
            info.name,
            values(info),
            info.columns(),
            matrices(info)
        ));
    }
    let what = garbage(tensors, choices, importance)?;
    Some(format!(
        "format {name}: {what}, and the importance matrix {file} has no entry of its size for it; use \
        one that was measured on this very model, or give the tensor a type of more bits"
    ))
}

/// What a matrix is missing for, where none is given; `None` where none is needed.
pub(super) fn lack(
    format: &FormatSpec,
    tensors: &[TensorInfo],
    choices: &[Choice],
    importance: &[Weighing],
) -> Option<String> {
    if format.imatrix.is_some() {
        return None;
    }
    let what = garbage(tensors, choices, importance)?;
    Some(format!(
        "format {} needs an importance matrix: {what}; give one that llama-imatrix made \
        (--imatrix FILE, or `imatrix = \"FILE\"` in a manifest), or choose a format of more bits",
        format.name
    ))
}

/// The tensors that would be garbage for want of importance, by number and example.
fn garbage(tensors: &[TensorInfo], choices: &[Choice], importance: &[Weighing]) -> Option<String> {
    let mut lacking = (0..tensors.len()).filter(|&i| importance[i] == Weighing::MissingAndNeeded);
    let first = lacking.next()?;
    let (tensor, ty) = (&tensors[first].name, choices[first].ty);
    Some(match 1 + lacking.count() {
        1 => format!("tensor {tensor} would be garbage as {ty} without importance"),
        n => format!("{n} tensors would be garbage without importance, such as {tensor} as {ty}"),
    })
}

/// What is odd about the matrix and no reason to stop.
pub(super) fn warnings(
    matrix: &Imatrix,
    tensors: &[TensorInfo],
    importance: &[Weighing],
) -> Vec<String> {
    let mut warnings = Vec::new();
    let names: std::collections::HashSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
    let mut unknown = matrix.names().filter(|name| !names.contains(name));
    if let Some(example) = unknown.next() {
        warnings.push(format!(
            "{} of the {} entries of the importance matrix {} are of no tensor of the model, such \
            as {example}",
            1 + unknown.count(),
            matrix.names().len(),
            matrix.path()
        ));
    }
    // llama-imatrix measures neither the embedding nor, unless it is told to, the output.
    let mut without = tensors.iter().zip(importance).filter(|(info, importance)| {
        **importance == Weighing::Missing && !policy::is_embedding_or_output(&info.name)
    });
    if let Some((example, _)) = without.next() {
        warnings.push(format!(
            "the importance matrix {} has no entry for {} tensors, which are quantized without, \
            such as {}",
            matrix.path(),
            1 + without.count(),
            example.name
        ));
    }
    warnings
}

/// Digests of matrices by path, each made once.
pub(super) type Digests = BTreeMap<Utf8PathBuf, String>;

/// The matrix as a result names it.
pub(super) fn used(
    file: &ImatrixFile,
    matrix: &Imatrix,
    survey: &Survey,
    digests: &mut Digests,
) -> UsedImatrix {
    let digest = || hex::encode(Sha256::digest(matrix.bytes()));
    UsedImatrix {
        path: file.name.clone().into(),
        sha256: digests.entry(file.path.path.clone()).or_insert_with(digest).clone(),
        datasets: matrix.datasets().to_vec(),
        chunks: matrix.chunks(),
        zero_shares: survey.zero_shares(),
        unmeasured: survey.unmeasured(),
    }
}

/// Says in `metadata` which matrix it was; what it says of an earlier one and this one does not
/// know stays.
pub(super) fn set_metadata(metadata: &mut Metadata, file: &ImatrixFile, matrix: &Imatrix) {
    let text =
        |text: &str| Value::String(text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned());
    let values = [
        ("quantize.imatrix.file", Some(text(&file.name))),
        ("quantize.imatrix.dataset", matrix.datasets().first().map(|name| text(name))),
        (
            "quantize.imatrix.entries_count",
            u32::try_from(matrix.names().len()).ok().map(Value::U32),
        ),
        ("quantize.imatrix.chunks_count", matrix.chunks().map(Value::U32)),
    ];
    for (key, value) in values {
        if let Some(value) = value {
            metadata.remove(key);
            metadata.set(key, value);
        }
    }
}
