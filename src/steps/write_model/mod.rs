//! Writes models as GGUF files: each tensor of a source in the type that was chosen for it. Convert
//! and quantize are both this, so a file is the same whichever way it was made, and alone or in one
//! pass with others. Reading, making, hashing, writing and flushing overlap, in bounded memory; a
//! killed run is continued through its journal. Knows nothing of how types are chosen.

mod behind;
mod digests;
mod keeper;
mod pass;
mod prepared;
mod queue;
mod rows;
mod span;
mod threads;
mod writer;

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use super::{Context, ErrorClass, StepError, WriteResult};
use crate::files::program;
use crate::ggml::{self, GgmlType};
use crate::gguf::{Imatrix, Importance, Layout, Metadata, TensorInfo, TensorSource};
use prepared::Prepared;

/// Bytes after which finished tensors are flushed to the disk and noted in the journal.
pub(super) const FLUSH_BYTES: u64 = 64 << 20;

/// A tensor to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its number in the source.
    pub source: usize,
    /// The type it gets.
    pub ggml_type: GgmlType,
}

/// A file to write.
pub(super) struct ModelFile<'a> {
    pub source: &'a dyn TensorSource,
    pub metadata: &'a Metadata,
    /// In file order.
    pub targets: &'a [Target],
    pub out: &'a Utf8Path,
    /// Replace `out` if it is there.
    pub replace: bool,
    /// What the source is: a journal of another one does not count, and it must be the same after
    /// the run as before.
    pub identity: &'a (dyn Fn() -> Result<String, StepError> + Sync),
    /// How much the columns weigh where a tensor is quantized, for those tensors that it holds.
    pub importance: Option<&'a Imatrix>,
    /// See [`FLUSH_BYTES`].
    pub flush_bytes: u64,
}

impl<'a> ModelFile<'a> {
    /// Name, type and shape of the tensors as they will be.
    pub fn infos(&self) -> Vec<TensorInfo> {
        infos(self.source, self.targets)
    }

    /// How much the columns of a tensor weigh; `None` too where the matrix is not of its size, as
    /// may be for the token embedding.
    fn importance(&self, info: &TensorInfo) -> Option<Importance<'a>> {
        let importance = self.importance?.get(&info.name)?;
        (importance.len() == info.columns() * matrices(info)).then_some(importance)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// As [`write_all`].
    pub fn write(&self, ctx: &Context<'_>) -> Result<WriteResult, StepError> {
        // One file in, one result out.
        write_all(std::slice::from_ref(self), ctx).map(|mut results| results.remove(0))
    }

    /// Refuses types that need an importance matrix, before anything is written.
    fn check_types(&self) -> Result<(), StepError> {
        for target in self.targets {
            let info = &self.source.tensors()[target.source];
            if info.ggml_type != target.ggml_type
                && ggml::needs_importance(target.ggml_type)
                && self.importance(info).is_none()
            {
                let error = ggml::QuantizeError::NeedsImportance(target.ggml_type);
                let message = format!("tensor {}: {error}", info.name);
                return Err(StepError::new(ErrorClass::Step, message));
            }
        }
        Ok(())
    }

    /// What the file is made from and how, as one digest.
    fn digest(&self, identity: &str, layout: &Layout, program: &str) -> String {
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

/// Writes files, at least one, that are made of one source, with the same tensors in the same order, in one pass
/// over it: what two of them want in the same type is made once.
///
/// # Errors
/// [`ErrorClass::Input`] if a tensor cannot be read, has weights that are not finite or the source
/// was changed meanwhile; [`ErrorClass::Host`] if a file cannot be written; [`ErrorClass::Usage`]
/// if one is there and not to be replaced; [`ErrorClass::Step`] if the types cannot be made of
/// these tensors. With any of them no file is finished.
pub(super) fn write_all(
    files: &[ModelFile<'_>],
    ctx: &Context<'_>,
) -> Result<Vec<WriteResult>, StepError> {
    for file in files {
        file.check_types()?;
    }
    let mut prepared = Vec::with_capacity(files.len());
    let mut promised = 0u64;
    for file in files {
        match Prepared::new(file, promised, ctx) {
            Ok(next) => {
                promised += next.missing_bytes();
                prepared.push(next);
            }
            Err(error) => {
                prepared.into_iter().for_each(Prepared::step_back);
                return Err(error);
            }
        }
    }
    let result = threads::run(files, &mut prepared, ctx).and_then(|hashers| {
        prepared.iter().try_for_each(Prepared::check_unchanged)?;
        Ok(hashers)
    });
    match result {
        Ok(hashers) => {
            let finish = |(prepared, hasher): (Prepared<'_>, _)| prepared.finish(hasher, ctx);
            prepared.into_iter().zip(hashers).map(finish).collect()
        }
        Err(error) => {
            for prepared in prepared {
                prepared.give_up(&error);
            }
            Err(error)
        }
    }
}

/// Tells one build of qrun from another: what another one wrote is not continued.
fn program() -> String {
    let stamp = program::stamp();
    format!("{} {stamp:?}", env!("CARGO_PKG_VERSION"))
}

/// Name, type and shape of `targets`.
pub(super) fn infos(source: &dyn TensorSource, targets: &[Target]) -> Vec<TensorInfo> {
    targets
        .iter()
        .map(|t| TensorInfo { ggml_type: t.ggml_type, ..source.tensors()[t.source].clone() })
        .collect()
}

/// Matrices that a tensor is made of: one, or one for each expert.
pub(super) fn matrices(info: &TensorInfo) -> usize {
    info.rows() / matrix_rows(info)
}

/// Rows of each of its matrices.
fn matrix_rows(info: &TensorInfo) -> usize {
    info.shape.get(1).map_or(1, |&rows| rows as usize)
}

/// Bytes of data and number of weights.
pub(super) fn totals(infos: &[TensorInfo]) -> (u64, u64) {
    infos.iter().fold((0, 0), |(b, e), info| (b + info.bytes(), e + info.elements()))
}

#[cfg(test)]
mod tests;
