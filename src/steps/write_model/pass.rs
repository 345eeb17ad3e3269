//! One pass over a source: the files that are made in it, and which types each tensor is wanted in.

use std::ops::Range;

use super::parts::PartFile;
use crate::ggml::StoredType;
use crate::gguf::{Importance, TensorInfo, TensorSource};
use crate::steps::Context;

/// One or more models with the same tensors in the same order, made of the same source, each in one or
/// more files. Tensors are numbered as the models have them.
pub struct Pass<'a> {
    files: Vec<&'a PartFile<'a>>,
    /// For each file the tensors that it lacks.
    missing: Vec<Range<usize>>,
}

/// A type that a tensor is wanted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub ggml_type: StoredType,
    /// Numbers of the files that want it.
    pub files: Vec<usize>,
}

impl<'a> Pass<'a> {
    /// A pass that makes of each of `files` what follows those of its tensors that are there, which
    /// are so many from its first on.
    pub fn new(files: Vec<&'a PartFile<'a>>, there: impl Iterator<Item = usize>) -> Self {
        debug_assert!(files.iter().all(|f| {
            let sources =
                |f: &PartFile<'_>| f.model.targets.iter().map(|t| t.source).collect::<Vec<_>>();
            sources(f) == sources(files[0])
        }));
        let missing = |(file, there): (&&PartFile<'_>, usize)| {
            file.planned.tensors.start + there..file.planned.tensors.end
        };
        let missing = files.iter().zip(there).map(missing).collect();
        Self { files, missing }
    }

    /// Whose threads and cancellation are the pass's.
    pub fn ctx(&self) -> &'a Context<'a> {
        self.files[0].model.ctx
    }

    /// What is read.
    pub fn source(&self) -> &'a dyn TensorSource {
        self.files[0].model.source
    }

    /// The tensors that any file lacks, in order.
    pub fn tensors(&self) -> impl Iterator<Item = usize> + '_ {
        let lacks = |tensor: &usize| self.missing.iter().any(|missing| missing.contains(tensor));
        (0..self.files[0].model.targets.len()).filter(lacks)
    }

    /// The number in the source of tensor number `tensor` of the files.
    pub fn source_tensor(&self, tensor: usize) -> usize {
        self.files[0].model.targets[tensor].source
    }

    /// Tensor number `tensor` of the files as the source has it.
    pub fn from(&self, tensor: usize) -> &'a TensorInfo {
        &self.source().tensors()[self.source_tensor(tensor)]
    }

    /// Whether parts of a row can be made by themselves: only by importance do some types look
    /// beyond a block.
    pub fn can_cut_rows(&self, tensor: usize) -> bool {
        let from = self.from(tensor);
        self.source().bytes(self.source_tensor(tensor)).is_some()
            && self.files.iter().all(|file| file.model.importance(from).is_none())
    }

    /// How much the columns of a tensor weigh in one of its forms.
    pub fn importance(&self, tensor: usize, form: &Form) -> Option<Importance<'a>> {
        self.files[form.files[0]].model.importance(self.from(tensor))
    }

    /// The types that tensor number `tensor` is wanted in, each once, or once for each matrix that
    /// weighs its columns.
    pub fn forms(&self, tensor: usize) -> Vec<Form> {
        let mut forms: Vec<Form> = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            if !self.missing[number].contains(&tensor) {
                continue;
            }
            let file = file.model;
            let ggml_type = file.targets[tensor].ggml_type;
            let same = |form: &&mut Form| {
                let other = self.files[form.files[0]].model.importance;
                form.ggml_type == ggml_type
                    && match (file.importance, other) {
                        (Some(one), Some(other)) => std::ptr::eq(one, other),
                        (one, other) => one.is_none() && other.is_none(),
                    }
            };
            match forms.iter_mut().find(same) {
                Some(form) => form.files.push(number),
                None => forms.push(Form { ggml_type, files: vec![number] }),
            }
        }
        forms
    }
}
