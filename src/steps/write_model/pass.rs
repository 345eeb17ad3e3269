//! One pass over a source: the files that are made in it, and which types each tensor is wanted in.

use std::ops::Range;

use super::files::NewFile;
use super::model::NewModel;
use super::open_file::OpenFile;
use crate::ggml::StoredType;
use crate::gguf::{Importance, TensorInfo, TensorSource};
use crate::steps::Context;

/// One or more models with the same tensors in the same order, made of the same source, each in one or
/// more files. Tensors are numbered as the models have them.
pub struct Pass<'a> {
    /// Each file with the tensors that it lacks.
    files: Vec<(&'a NewModel<'a>, &'a NewFile, Range<usize>)>,
}

/// A type that a tensor is wanted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    pub ggml_type: StoredType,
    /// Numbers of the files that want it.
    pub files: Vec<usize>,
}

impl<'a> Pass<'a> {
    /// A pass that makes of each of `files` what follows those of its tensors that are there.
    pub fn new(files: &[OpenFile<'a>]) -> Self {
        debug_assert!(files.iter().all(|f| {
            let sources = |f: &OpenFile<'_>| {
                f.model.tensors.iter().map(|tensor| tensor.source).collect::<Vec<_>>()
            };
            sources(f) == sources(&files[0])
        }));
        let lacks = |open: &OpenFile<'_>| {
            open.file.tensors.start + open.resumed_tensors..open.file.tensors.end
        };
        Self { files: files.iter().map(|open| (open.model, open.file, lacks(open))).collect() }
    }

    /// The model that stands for what all have in common.
    fn first(&self) -> &'a NewModel<'a> {
        self.files[0].0
    }

    /// Number `file` of its files.
    pub fn file(&self, file: usize) -> &'a NewFile {
        self.files[file].1
    }

    /// Whose threads and cancellation are the pass's.
    pub fn ctx(&self) -> &'a Context<'a> {
        self.first().ctx
    }

    /// What is read.
    pub fn source(&self) -> &'a dyn TensorSource {
        self.first().source
    }

    /// The tensors that any file lacks, in order.
    pub fn tensors(&self) -> impl Iterator<Item = usize> + '_ {
        let lack = |tensor: &usize| self.files.iter().any(|(.., lacks)| lacks.contains(tensor));
        (0..self.first().tensors.len()).filter(lack)
    }

    /// The number in the source of tensor number `tensor` of the files.
    pub fn source_tensor(&self, tensor: usize) -> usize {
        self.first().tensors[tensor].source
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
            && self.files.iter().all(|(model, ..)| model.importance(from).is_none())
    }

    /// How much the columns of a tensor weigh in one of its variants.
    pub fn importance(&self, tensor: usize, variant: &Variant) -> Option<Importance<'a>> {
        self.files[variant.files[0]].0.importance(self.from(tensor))
    }

    /// The types that tensor number `tensor` is wanted in, each once, or once for each matrix that
    /// weighs its columns.
    pub fn variants(&self, tensor: usize) -> Vec<Variant> {
        let mut variants: Vec<Variant> = Vec::new();
        for (number, (model, _, lacks)) in self.files.iter().enumerate() {
            if !lacks.contains(&tensor) {
                continue;
            }
            let ggml_type = model.tensors[tensor].ggml_type;
            let same = |variant: &&mut Variant| {
                let other = self.files[variant.files[0]].0.importance;
                variant.ggml_type == ggml_type
                    && match (model.importance, other) {
                        (Some(one), Some(other)) => std::ptr::eq(one, other),
                        (one, other) => one.is_none() && other.is_none(),
                    }
            };
            match variants.iter_mut().find(same) {
                Some(variant) => variant.files.push(number),
                None => variants.push(Variant { ggml_type, files: vec![number] }),
            }
        }
        variants
    }
}
