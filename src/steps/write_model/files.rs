//! The files that a model is written to: one, or parts of at most a size, each a GGUF file of its
//! own with some of the tensors. Knows nothing of how they are written.

use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use crate::gguf::{Layout, Metadata, TensorInfo, part_metadata, part_path, partition};
use crate::steps::StepError;

/// One of the files of a model, as it will be.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub path: Utf8PathBuf,
    /// Which of the model's tensors it has, in file order.
    pub tensors: Range<usize>,
    /// These, as they will be.
    pub infos: Vec<TensorInfo>,
    pub layout: Layout,
}

impl NewFile {
    /// Bytes of padding behind its tensor number `tensor`.
    pub fn padding(&self, tensor: usize) -> usize {
        self.layout.padding(self.infos[tensor].bytes())
    }

    /// Where that tensor, with its padding, ends.
    pub fn end(&self, tensor: usize) -> u64 {
        let bytes = self.infos[tensor].bytes();
        self.layout.offset(tensor) + bytes + self.layout.padding(bytes) as u64
    }
}

/// The files of a model with this metadata and these tensors, at least one: `out` itself, or beside it
/// parts of which none has more than `split` bytes of tensors, if no tensor has more by itself.
///
/// # Errors
/// [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if there would be no GGUF file;
/// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if there would be too many.
pub fn new_files(
    metadata: &Metadata,
    infos: &[TensorInfo],
    out: &Utf8Path,
    split: Option<u64>,
) -> Result<Vec<NewFile>, StepError> {
    let file = |path: Utf8PathBuf, metadata: &Metadata, tensors: Range<usize>| {
        let infos = infos[tensors.clone()].to_vec();
        let layout =
            Layout::new(metadata, &infos).map_err(|e| StepError::failed(format!("{path}: {e}")))?;
        Ok(NewFile { path, tensors, infos, layout })
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
