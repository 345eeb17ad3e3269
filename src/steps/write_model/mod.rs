//! Writes models as GGUF files: each tensor of a source in the type that was chosen for it. Convert
//! and quantize are both this, so a file is the same whichever way it was made, and alone or in one
//! pass with others. Knows nothing of how types are chosen.
//!
//! A [`model`] goes into one file, or into parts ([`files`]). The files that are made of one source
//! are written in one [`pass`] over it, through these stages, of which those in the middle are at work
//! all at once and in bounded memory ([`threads`]):
//!
//! 1. [`open_file`] takes a file's place and finds what a killed run left of it that is good.
//! 2. [`pieces`] cuts the tensors that a file lacks, and gives the pieces out in order.
//! 3. [`maker`]: as many threads as asked for read a piece and make it in each type that is wanted.
//! 4. [`writer`]: the calling thread appends the pieces to their files in order.
//! 5. [`hasher`]: a thread for each file hashes what is in it, and one its tensors if asked to.
//! 6. [`journal`]: a thread for each file flushes finished tensors to the disk and notes them, so
//!    that a killed run is continued.
//! 7. [`open_file`] gives the file its name.

mod files;
mod hasher;
mod journal;
mod maker;
mod model;
mod open_file;
mod pass;
mod pieces;
mod threads;
mod writer;

use std::collections::BTreeMap;

use super::{StepError, WriteResult};
use crate::gguf::bits_per_weight;
pub(super) use files::{NewFile, new_files, oversized};
pub(super) use model::{NewModel, NewTensor, infos, matrices};
use open_file::{Finished, OpenFile};

/// Bytes after which finished tensors are flushed to the disk and noted in the journal.
pub(super) const FLUSH_BYTES: u64 = 64 << 20;

/// Most files that are written at once: each has two threads that hash, one that flushes and two file
/// descriptors, of which a process may have 1024 by default.
const MOST_FILES: usize = 400;

/// Writes models that are made of one source, with the same tensors in the same order, in one pass
/// over it: what two of them want in the same type is made once. Each goes into one file or several.
/// More than [`MOST_FILES`] take a pass more.
///
/// # Errors
/// Of each model [`ErrorClass::Input`](super::ErrorClass::Input) if a tensor cannot be read, has
/// weights that are not finite or the source was changed meanwhile;
/// [`ErrorClass::Host`](super::ErrorClass::Host) if a file cannot be written;
/// [`ErrorClass::Usage`](super::ErrorClass::Usage) if one is there and not to be replaced;
/// [`ErrorClass::Step`](super::ErrorClass::Step) if the types cannot be made of these tensors. What
/// shows before anything is written is an error of that model alone; with any other no file of the
/// pass is finished.
pub(super) fn write_all(models: &[NewModel<'_>]) -> Vec<Result<WriteResult, StepError>> {
    let mut results = BTreeMap::new();
    let mut pass: Vec<Numbered<'_>> = Vec::new();
    for (number, model) in models.iter().enumerate() {
        match model.files() {
            Ok(files) => {
                let waiting = pass.iter().map(|(_, _, files)| files.len()).sum::<usize>();
                if waiting + files.len() > MOST_FILES {
                    results.extend(write_pass(&std::mem::take(&mut pass)));
                }
                pass.push((number, model, files));
            }
            Err(error) => {
                results.insert(number, Err(error));
            }
        }
    }
    results.extend(write_pass(&pass));
    results.into_values().collect()
}

/// A model by its number, with its files.
type Numbered<'a> = (usize, &'a NewModel<'a>, Vec<NewFile>);

/// Writes the files of some models, whose results go by the models' numbers.
fn write_pass(models: &[Numbered<'_>]) -> BTreeMap<usize, Result<WriteResult, StepError>> {
    let mut results = BTreeMap::new();
    let (mut ready, mut open) = (Vec::new(), Vec::new());
    let mut promised = 0;
    for (number, model, files) in models {
        match OpenFile::all(model, files, &mut promised) {
            Ok(files) => {
                ready.push((*number, *model, files.len()));
                open.extend(files);
            }
            Err(error) => {
                results.insert(*number, Err(error));
            }
        }
    }
    if ready.is_empty() {
        return results;
    }
    let written = threads::run(&mut open).and_then(|hashers| {
        open.iter().try_for_each(OpenFile::check_unchanged)?;
        Ok(hashers)
    });
    match written {
        Ok(hashers) => {
            let mut finished = open.into_iter().zip(hashers).map(|(file, h)| file.finish(h));
            for (number, model, count) in ready {
                // All of them, whatever becomes of the first.
                let files: Vec<_> = finished.by_ref().take(count).collect();
                results.insert(number, joined(model, files));
            }
        }
        Err(error) => {
            open.into_iter().for_each(|file| file.give_up(&error));
            results.extend(ready.into_iter().map(|(number, ..)| (number, Err(error.clone()))));
        }
    }
    results
}

/// What came of a model whose files these are, in order.
fn joined(
    model: &NewModel<'_>,
    files: Vec<Result<Finished, StepError>>,
) -> Result<WriteResult, StepError> {
    let (mut outputs, mut tensors, mut resumed_tensors) = (Vec::new(), Vec::new(), 0);
    for file in files {
        let file = file?;
        outputs.push(file.output);
        tensors.extend(file.tensors);
        resumed_tensors += file.resumed_tensors;
    }
    let bits_per_weight = bits_per_weight(&model.infos());
    let first = outputs.first().cloned();
    let output = first.ok_or_else(|| StepError::bug("a model was written to no file"))?;
    let parts = if model.split.is_some() { outputs } else { Vec::new() };
    Ok(WriteResult { output, parts, tensors, resumed_tensors, bits_per_weight, imatrix: None })
}

#[cfg(test)]
mod tests;
