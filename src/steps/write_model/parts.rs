//! The files that a model is written to: one, or parts of at most a size, each a GGUF file of its own with
//! some of the tensors. Knows nothing of how they are written.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::ModelFile;
use crate::gguf::{Layout, Metadata, TensorInfo, part_metadata, part_path, partition};
use crate::steps::StepError;

/// One of the files of a model, as it will be.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    pub path: Utf8PathBuf,
    /// Which of the model's tensors it has, in file order.
    pub tensors: Range<usize>,
    pub layout: Layout,
}

/// The files of a model with this metadata and these tensors, at least one: `out` itself, or beside it
/// parts of which none has more than `split` bytes of tensors, if no tensor has more by itself.
///
/// # Errors
/// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if there would be no GGUF file; [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if there would be too
/// many.
pub fn planned_files(
    metadata: &Metadata,
    infos: &[TensorInfo],
    out: &Utf8Path,
    split: Option<u64>,
) -> Result<Vec<PlannedFile>, StepError> {
    let file = |path: Utf8PathBuf, metadata: &Metadata, tensors: Range<usize>| {
        let layout = Layout::new(metadata, &infos[tensors.clone()])
            .map_err(|e| StepError::failed(format!("{path}: {e}")))?;
        Ok(PlannedFile { path, tensors, layout })
    };
    let Some(most) = split else {
        return Ok(vec![file(out.to_owned(), metadata, 0..infos.len())?]);
    };
    let parts = partition(infos, most).map_err(|count| {
        StepError::usage(format!(
            "{out} in parts of {most} bytes would be {count} files; choose larger parts"
        ))
    })?;
    let count = parts.len();
    let part = |(number, tensors)| {
        let metadata = part_metadata(metadata, number, count, infos.len());
        file(part_path(out, number, count), &metadata, tensors)
    };
    parts.into_iter().enumerate().map(part).collect()
}

/// What to say of a tensor that alone is larger than a part should be.
pub fn oversized(infos: &[TensorInfo], split: Option<u64>) -> Option<String> {
    let most = split?;
    let mut larger = infos.iter().filter(|info| info.bytes() > most);
    let first = larger.next()?;
    let more = match larger.count() {
        0 => String::new(),
        n => format!(", and {n} more"),
    };
    Some(format!(
        "tensor {} alone has {} bytes{more}: its part is larger than the {most} bytes that were asked for",
        first.name,
        first.bytes()
    ))
}

/// One file of a model that is written.
pub struct PartFile<'a> {
    pub model: &'a ModelFile<'a>,
    pub planned: PlannedFile,
    /// Its tensors as they will be.
    pub infos: Vec<TensorInfo>,
}

impl<'a> PartFile<'a> {
    /// The files of `model`, in order.
    ///
    /// # Errors
    /// As [`planned_files`].
    pub fn all(model: &'a ModelFile<'a>) -> Result<Vec<Self>, StepError> {
        let infos = model.infos();
        let planned = planned_files(model.metadata, &infos, model.out, model.split)?;
        let part = |planned: PlannedFile| {
            let infos = infos[planned.tensors.clone()].to_vec();
            PartFile { model, planned, infos }
        };
        Ok(planned.into_iter().map(part).collect())
    }
}
