//! What crosses the pipe from runner to worker: one order as JSON on the worker's standard input.
//! Back come [`crate::steps::Event`]s, one JSON line each, on its standard output.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::files::Stamp;
use crate::state::{Ingredient, Owner};
use crate::steps::StepSpec;

/// One step to do in a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkOrder {
    pub spec: StepSpec,
    /// Threads for heavy work.
    pub threads: usize,
    /// The process that waits for the result: the worker does not outlive it.
    pub parent: u32,
    /// Where the success is recorded; absent for a step that belongs to no job.
    pub record: Option<Record>,
}

/// How a step's success is recorded in the workspace's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub workspace: Utf8PathBuf,
    pub job: String,
    pub manifest: Utf8PathBuf,
    pub step: String,
    pub key: String,
    pub ingredients: Vec<Ingredient>,
    /// The files it reads whose digests are in the key, as they were when those were looked up: a
    /// success counts only if none of them changed since.
    pub reads: Vec<(Utf8PathBuf, Stamp)>,
    /// Do it even if a success is recorded already.
    pub redo: bool,
}

impl Record {
    /// Whose the step is.
    pub fn owner(&self) -> Owner<'_> {
        Owner { job: &self.job, manifest: &self.manifest }
    }
}
