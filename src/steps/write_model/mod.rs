//! Writes models as GGUF files: each tensor of a source in the type that was chosen for it. Convert
//! and quantize are both this, so a file is the same whichever way it was made, and alone or in one
//! pass with others. Reading, making, hashing, writing and flushing overlap, in bounded memory; a
//! killed run is continued through its journal. Knows nothing of how types are chosen.

mod behind;
mod digests;
mod keeper;
mod parts;
mod pass;
mod prepared;
mod queue;
mod rows;
mod span;
mod threads;
mod vouched;
mod writer;

use std::collections::BTreeMap;

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use super::{Context, StepError, WriteResult};
use crate::files::program;
use crate::ggml::{self, StoredType};
use crate::gguf::{
    Imatrix, Importance, Layout, Metadata, NotComputable, TensorInfo, TensorSource, bits_per_weight,
};
use parts::PartFile;
pub(super) use parts::{PlannedFile, oversized, planned_files};
use prepared::{Finished, Prepared};

/// Bytes after which finished tensors are flushed to the disk and noted in the journal.
pub(super) const FLUSH_BYTES: u64 = 64 << 20;

/// Most files that are written at once: each has two threads that hash, one that flushes and two file
/// descriptors, of which a process may have 1024 by default.
const MOST_FILES: usize = 400;

/// A tensor to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its number in the source.
    pub source: usize,
    /// The type it gets.
    pub ggml_type: StoredType,
}

/// A file to write.
pub(super) struct ModelFile<'a> {
    pub source: &'a dyn TensorSource,
    pub metadata: &'a Metadata,
    /// In file order.
    pub targets: &'a [Target],
    /// In one file, or what the parts are called after.
    pub out: &'a Utf8Path,
    /// Bytes of tensors that a part may have, where the model goes into several files.
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
    /// See [`FLUSH_BYTES`].
    pub flush_bytes: u64,
    /// Of the step that writes it; several in one pass have the same threads and stop together.
    pub ctx: &'a Context<'a>,
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
    pub fn write(&self) -> Result<WriteResult, StepError> {
        // One model in, one result out.
        write_all(std::slice::from_ref(self)).remove(0)
    }

    /// The files that it is written to.
    fn files(&self) -> Result<Vec<PartFile<'_>>, StepError> {
        self.check_types()?;
        let files = PartFile::all(self)?;
        if files.len() > MOST_FILES {
            return Err(StepError::usage(format!(
                "{} would be {} files, which are written at once; at most {MOST_FILES} can be: \
                     choose larger parts",
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
            let message = "the source is an outline, which is for plans: a bug in qrun";
            return Err(StepError::failed(message));
        }
        for target in self.targets {
            let info = &self.source.tensors()[target.source];
            if info.ggml_type == target.ggml_type {
                continue;
            }
            let not_computable = |e: NotComputable| StepError::failed(e.to_string());
            info.computable().map_err(not_computable)?;
            let to = info.in_type(target.ggml_type).computable().map_err(not_computable)?;
            if ggml::needs_importance(to) && self.importance(info).is_none() {
                let error = ggml::QuantizeError::NeedsImportance(to);
                let message = format!("tensor {}: {error}", info.name);
                return Err(StepError::failed(message));
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

/// Writes models that are made of one source, with the same tensors in the same order, in one pass
/// over it: what two of them want in the same type is made once. Each goes into one file or several.
/// More than [`MOST_FILES`] take a pass more.
///
/// # Errors
/// Of each model [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a tensor cannot be read, has weights that are not finite or
/// the source was changed meanwhile; [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if a file cannot be written;
/// [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if one is there and not to be replaced; [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if the types
/// cannot be made of these tensors. What shows before anything is written is an error of that model
/// alone; with any other no file of the pass is finished.
pub(super) fn write_all(models: &[ModelFile<'_>]) -> Vec<Result<WriteResult, StepError>> {
    let mut results = BTreeMap::new();
    let mut pass = Vec::new();
    for (number, model) in models.iter().enumerate() {
        match model.files() {
            Ok(files) => {
                let waiting =
                    pass.iter().map(|(_, files): &(_, Vec<_>)| files.len()).sum::<usize>();
                if waiting + files.len() > MOST_FILES {
                    results.extend(write_pass(&std::mem::take(&mut pass)));
                }
                pass.push((number, files));
            }
            Err(error) => {
                results.insert(number, Err(error));
            }
        }
    }
    results.extend(write_pass(&pass));
    results.into_values().collect()
}

/// Writes the files of some models, which are told by their numbers.
fn write_pass(
    models: &[(usize, Vec<PartFile<'_>>)],
) -> BTreeMap<usize, Result<WriteResult, StepError>> {
    let mut results = BTreeMap::new();
    let (mut ready, mut prepared) = (Vec::new(), Vec::new());
    let mut promised = 0;
    for (number, files) in models {
        match Prepared::all(files, &mut promised) {
            Ok(files) => {
                ready.push((*number, files.len()));
                prepared.extend(files);
            }
            Err(error) => {
                results.insert(*number, Err(error));
            }
        }
    }
    if ready.is_empty() {
        return results;
    }
    let written = threads::run(&mut prepared).and_then(|hashers| {
        prepared.iter().try_for_each(Prepared::check_unchanged)?;
        Ok(hashers)
    });
    match written {
        Ok(hashers) => {
            let finish = |(file, hasher): (Prepared<'_>, _)| (file.is_part(), file.finish(hasher));
            let mut finished = prepared.into_iter().zip(hashers).map(finish);
            for (number, count) in ready {
                // All of them, whatever becomes of the first.
                let files: Vec<_> = finished.by_ref().take(count).collect();
                results.insert(number, joined(files));
            }
        }
        Err(error) => {
            prepared.into_iter().for_each(|file| file.give_up(&error));
            results.extend(ready.into_iter().map(|(number, _)| (number, Err(error.clone()))));
        }
    }
    results
}

/// What came of a model whose files these are, in order.
fn joined(files: Vec<(bool, Result<Finished, StepError>)>) -> Result<WriteResult, StepError> {
    let (mut outputs, mut tensors, mut infos) = (Vec::new(), Vec::new(), Vec::new());
    let (mut resumed_tensors, mut split) = (0, false);
    for (is_part, file) in files {
        let file = file?;
        split |= is_part;
        outputs.push(file.output);
        tensors.extend(file.tensors);
        infos.extend(file.infos);
        resumed_tensors += file.resumed_tensors;
    }
    let bits_per_weight = bits_per_weight(&infos);
    let Some(output) = outputs.first().cloned() else {
        return Err(StepError::failed("a model was written to no file: a bug in qrun"));
    };
    let parts = if split { outputs } else { Vec::new() };
    Ok(WriteResult { output, parts, tensors, resumed_tensors, bits_per_weight, imatrix: None })
}

/// Tells one build of qrun from another: what another one wrote is not continued.
fn program() -> String {
    let stamp = program::stamp();
    format!("{} {stamp:?}", env!("CARGO_PKG_VERSION"))
}

/// Name, type and shape of `targets`.
pub(super) fn infos(source: &dyn TensorSource, targets: &[Target]) -> Vec<TensorInfo> {
    targets.iter().map(|t| source.tensors()[t.source].in_type(t.ggml_type)).collect()
}

/// Matrices that a tensor is made of: one, or one for each expert.
pub(super) fn matrices(info: &TensorInfo) -> usize {
    info.rows() / matrix_rows(info).max(1)
}

/// Rows of each of its matrices.
fn matrix_rows(info: &TensorInfo) -> usize {
    info.shape.get(1).map_or(1, |&rows| rows as usize)
}

#[cfg(test)]
mod tests;
