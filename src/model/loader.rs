//! Takes tensors out of a [`TensorSource`] by name, each with the shape the architecture wants.

use std::sync::Arc;

use crate::arch::Architecture;
use crate::compute::{Matrix, MatrixError};
use crate::ggml::GgmlType;
use crate::gguf::{TensorInfo, TensorSource};

use super::ModelError;

/// The tensors of one model.
pub struct Loader {
    source: Arc<dyn TensorSource>,
}

/// A matrix that stays where the source has it, if it has it in place.
pub struct Weight {
    /// The tensor's number in the source, or its bytes.
    storage: Result<usize, Vec<u8>>,
    ggml_type: GgmlType,
    info: TensorInfo,
}

impl Loader {
    pub fn new(source: Arc<dyn TensorSource>) -> Self {
        Self { source }
    }

    /// The matrix `name` of this shape, fastest dimension first.
    pub fn matrix(&self, name: &str, shape: &[u64]) -> Result<Weight, ModelError> {
        let (index, info) = self.find(name, shape)?;
        let ggml_type = info.computable()?;
        let storage = match self.source.bytes(index) {
            Some(_) => Ok(index),
            None => Err(self.read(index, info)?),
        };
        let weight = Weight { storage, ggml_type, info: info.clone() };
        weight.checked(&*self.source).map_err(|e| wrong_bytes(name, e))?;
        Ok(weight)
    }

    /// All weights of a norm, a bias or the like, which are f32, in file order.
    pub fn vector(&self, name: &str, shape: &[u64]) -> Result<Vec<f32>, ModelError> {
        let (index, info) = self.find(name, shape)?;
        if info.ggml_type != GgmlType::F32 {
            let (tensor, found) = (name.to_owned(), info.ggml_type);
            return Err(ModelError::VectorType { tensor, found });
        }
        let bytes = self.read(index, info)?;
        let matrix = Matrix::new(info.computable()?, info.columns(), info.rows(), &bytes)
            .map_err(|e| wrong_bytes(name, e))?;
        let mut values = vec![0.0; matrix.columns() * matrix.rows()];
        for (row, out) in values.chunks_exact_mut(matrix.columns()).enumerate() {
            matrix.row_f32(row, out);
        }
        Ok(values)
    }

    /// The weight, ready to multiply.
    pub fn view<'a>(&'a self, weight: &'a Weight) -> Matrix<'a> {
        match weight.checked(&*self.source) {
            Ok(matrix) => matrix,
            Err(e) => unreachable!("{} was checked when it was loaded: {e}", weight.info.name),
        }
    }

    /// Fails if the file has tensors that a model of so many layers does not have.
    pub fn no_others(&self, architecture: &Architecture, layers: usize) -> Result<(), ModelError> {
        let is_other = |t: &&TensorInfo| architecture.row_of(&t.name, layers).is_none();
        let mut others = self.source.tensors().iter().filter(is_other);
        match others.next() {
            None => Ok(()),
            Some(first) => Err(ModelError::other_tensor(architecture, &first.name, others.count())),
        }
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.source.find(name).is_some()
    }

    fn find(&self, name: &str, shape: &[u64]) -> Result<(usize, &TensorInfo), ModelError> {
        let expected = shape.to_vec();
        let Some(index) = self.source.find(name) else {
            return Err(ModelError::MissingTensor { tensor: name.to_owned(), expected });
        };
        let info = &self.source.tensors()[index];
        if !same_shape(&info.shape, &expected) {
            let (tensor, found) = (name.to_owned(), info.shape.clone());
            return Err(ModelError::Shape { tensor, found, expected });
        }
        Ok((index, info))
    }

    /// The tensor's bytes; the source has checked their number against its file.
    fn read(&self, index: usize, info: &TensorInfo) -> Result<Vec<u8>, ModelError> {
        let mut bytes = vec![0; info.row_bytes() * info.rows()];
        self.source.read_rows(index, 0..info.rows(), &mut bytes)?;
        Ok(bytes)
    }
}

impl Weight {
    fn checked<'a>(&'a self, source: &'a dyn TensorSource) -> Result<Matrix<'a>, MatrixError> {
        let bytes = match &self.storage {
            Ok(index) => source.bytes(*index).unwrap_or_default(),
            Err(bytes) => bytes,
        };
        Matrix::new(self.ggml_type, self.info.columns(), self.info.rows(), bytes)
    }
}

/// Whether the shapes are the same but for dimensions of 1 at their ends, which llama.cpp does not
/// tell from none.
fn same_shape(a: &[u64], b: &[u64]) -> bool {
    let length = a.len().max(b.len());
    let padded = |shape: &[u64]| -> Vec<u64> {
        shape.iter().copied().chain(std::iter::repeat(1)).take(length).collect()
    };
    padded(a) == padded(b)
}

fn wrong_bytes(name: &str, source: MatrixError) -> ModelError {
    ModelError::Matrix { tensor: name.to_owned(), source }
}
