//! A model to write, and what it is made of.

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use super::files::{NewFile, new_files};
use super::{MOST_FILES, write_all};
use crate::files::program;
use crate::ggml::{self, StoredType};
use crate::gguf::{Imatrix, Importance, Layout, Metadata, NotComputable, TensorInfo, TensorSource};
use crate::steps::{Context, StepError, WriteResult};

/// A tensor to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTensor {
    /// Its number in the source.
    pub source: usize,
    /// The type it gets.
    pub ggml_type: StoredType,
}

/// A model to write.
pub struct NewModel<'a> {
    pub source: &'a dyn TensorSource,
    pub metadata: &'a Metadata,
    /// In file order.
    pub tensors: &'a [NewTensor],
    /// Its file, or what its parts are called after.
    pub out: &'a Utf8Path,
    /// Bytes of tensors that a part may have, where it goes into several.
    pub split: Option<u64>,
    /// Replace files that are there.
    pub replace: bool,
    /// What the source is: a journal of another one does not count, and it must be the same after
    /// the run as before.
    pub identity: &'a (dyn Fn() -> Result<String, StepError> + Sync),
    /// How much the columns weigh where a tensor is quantized, for those tensors that it holds.
    pub importance: Option<&'a Imatrix>,
    /// Say the SHA-256 of each tensor.
    pub hash_tensors: bool,
    /// See [`super::FLUSH_BYTES`].
    pub flush_bytes: u64,
    /// Of the step that writes it; several in one pass have the same threads and stop together.
    pub ctx: &'a Context<'a>,
}

impl<'a> NewModel<'a> {
    /// Name, type and shape of the tensors as they will be.
    pub fn infos(&self) -> Vec<TensorInfo> {
        infos(self.source, self.tensors)
    }

    /// How much the columns of a tensor weigh; `None` too where the matrix is not of its size, as
    /// may be for the token embedding.
    pub fn importance(&self, info: &TensorInfo) -> Option<Importance<'a>> {
        let importance = self.importance?.get(&info.name)?;
        (importance.len() == info.columns() * matrices(info)).then_some(importance)
    }

    /// Writes it.
    ///
    /// # Errors
    /// As [`write_all`].
    pub fn write(&self) -> Result<WriteResult, StepError> {
        // One model in, one result out.
        write_all(std::slice::from_ref(self)).remove(0)
    }

    /// The files that it is written to.
    pub fn files(&self) -> Result<Vec<NewFile>, StepError> {
        self.check_types()?;
        let files = new_files(self.metadata, &self.infos(), self.out, self.split)?;
        if files.len() > MOST_FILES {
            return Err(StepError::usage(format!(
                "{} would be {} files, which are written at once; at most {MOST_FILES} can be: choose \
                larger parts",
                self.out,
                files.len()
            )));
        }
        Ok(files)
    }

    /// Refuses what no quantizer can do, before anything is written: types that can only be copied, or
    /// that need an importance matrix.
    fn check_types(&self) -> Result<(), StepError> {
        if self.metadata.left_out_bytes() > 0 {
            return Err(StepError::bug("the source is an outline, which is for plans"));
        }
        for tensor in self.tensors {
            let info = &self.source.tensors()[tensor.source];
            if info.ggml_type == tensor.ggml_type {
                continue;
            }
            let not_computable = |e: NotComputable| StepError::failed(e.to_string());
            info.computable().map_err(not_computable)?;
            let to = info.in_type(tensor.ggml_type).computable().map_err(not_computable)?;
            if ggml::needs_importance(to) && self.importance(info).is_none() {
                let error = ggml::QuantizeError::NeedsImportance(to);
                return Err(StepError::failed(format!("tensor {}: {error}", info.name)));
            }
        }
        Ok(())
    }

    /// What a file of it is made from and how, as one digest.
    pub fn digest(&self, identity: &str, layout: &Layout, program: &str) -> String {
        let mut hasher = Sha256::new();
        hasher.update(program);
        hasher.update([0]);
        hasher.update(identity);
        hasher.update([0]);
        // Metadata, names, shapes and types.
        hasher.update(layout.header());
        hex::encode(hasher.finalize())
    }
}

/// Tells one build of qrun from another: what another one wrote is not continued.
pub fn this_program() -> String {
    let stamp = program::stamp();
    format!("{} {stamp:?}", env!("CARGO_PKG_VERSION"))
}

/// Name, type and shape of `tensors`.
pub fn infos(source: &dyn TensorSource, tensors: &[NewTensor]) -> Vec<TensorInfo> {
    tensors.iter().map(|t| source.tensors()[t.source].in_type(t.ggml_type)).collect()
}

/// Matrices that a tensor is made of: one, or one for each expert.
pub fn matrices(info: &TensorInfo) -> usize {
    info.rows() / matrix_rows(info).max(1)
}

/// Rows of each of its matrices.
pub fn matrix_rows(info: &TensorInfo) -> usize {
    info.shape.get(1).map_or(1, |&rows| rows as usize)
}
