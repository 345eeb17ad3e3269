//! Which importance matrices a job weighs columns with, as far as their headers and the state tell.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::input_files::imatrices;
use super::{FileFact, Plan};
use crate::gguf::Imatrix;
use crate::steps::{StepError, measured_over};

/// An importance matrix of a job.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// In the workspace, if it is there.
    pub path: Utf8PathBuf,
    /// Absent where it has not been hashed yet.
    pub sha256: Option<String>,
    /// The texts that it was measured over, as far as it names them.
    pub datasets: Vec<String>,
    /// Pieces of text that were measured, where it says.
    pub chunks: Option<u32>,
}

impl Plan {
    /// The matrices that are there and can be read; what is wrong with the others is said elsewhere.
    pub(super) fn matrices(&self) -> Result<Vec<Matrix>, StepError> {
        let mut matrices = Vec::new();
        for path in imatrices(&self.job) {
            let Ok(matrix) = Imatrix::open(path) else { continue };
            let sha256 = match self.file(path)? {
                FileFact::Known { sha256, .. } => Some(sha256),
                FileFact::Unknown { .. } | FileFact::Missing => None,
            };
            let shown: &Utf8Path = path.strip_prefix(&self.job.workspace).unwrap_or(path);
            matrices.push(Matrix {
                path: shown.to_owned(),
                sha256,
                datasets: matrix.datasets().to_vec(),
                chunks: matrix.chunks(),
            });
        }
        Ok(matrices)
    }
}

impl fmt::Display for Matrix {
    /// Which it is, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sha256 = self.sha256.as_deref().unwrap_or("not known yet");
        let measured = measured_over(self.chunks, &self.datasets);
        write!(f, "{}: SHA-256 {sha256}, {measured}", self.path)
    }
}
