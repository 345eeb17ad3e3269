//! What crosses the pipe from runner to worker: one order as JSON on the worker's standard input.
//! Back come [`Said`], one JSON line each, on its standard output, and, for a step of a job, a
//! [`super::outbox::Delivery`] in the workspace.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{Mark, Stamp};
use crate::plan::Read;
use crate::state::{Ingredient, Owner};
use crate::steps::{Event, StepSpec, TimeLimit};

/// What a worker process has to do: a step, or several that share something and are done together
/// ([`StepSpec::shares`]), each with its own result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkOrder {
    pub tasks: Vec<Task>,
    /// Threads for heavy work.
    pub threads: usize,
}

impl WorkOrder {
    /// When it has taken too long: only what is done by itself has a limit.
    pub fn limit(&self) -> Option<&TimeLimit> {
        match &self.tasks[..] {
            [task] => task.spec.limit(),
            _ => None,
        }
    }

    /// The workspace of its job, if it has one.
    pub fn workspace(&self) -> Option<&Utf8Path> {
        Some(&self.tasks.first()?.record.as_ref()?.workspace)
    }
}

/// One step of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub spec: StepSpec,
    /// Whose step it is; absent for one that belongs to no job.
    pub record: Option<Record>,
}

/// What a worker says of one of its tasks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Said {
    /// The task's place in the order.
    #[serde(default)]
    pub task: usize,
    #[serde(flatten)]
    pub event: Event,
}

/// Whose a step is, and what the runner knows of the files that it works with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub workspace: Utf8PathBuf,
    /// That of the workspace's unfinished files.
    pub mark: Mark,
    pub job: String,
    pub manifest: Utf8PathBuf,
    pub step: String,
    pub key: String,
    pub ingredients: Vec<Ingredient>,
    /// The files it reads whose digests are in the key, as they were when those were looked up: a
    /// success counts only if none of them changed since.
    pub reads: Vec<Claim>,
    /// The files under the names of its outputs that are known to be this workspace's own, and so may
    /// be replaced.
    pub replaces: Vec<Claim>,
    /// Do it even if a success has been delivered already.
    pub redo: bool,
}

/// What the runner knows of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub path: Utf8PathBuf,
    pub bytes: u64,
    /// Lower-case hexadecimal, where it is known.
    pub sha256: Option<String>,
    /// Only to a worker on the same machine: another numbers devices and files otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
}

impl Claim {
    /// Whether the file with the stamp `found` is the one that the runner saw, as far as a look tells.
    pub fn holds(&self, found: &Stamp) -> bool {
        match &self.stamp {
            Some(stamp) => stamp == found,
            None => self.bytes == found.bytes,
        }
    }
}

impl From<&Read> for Claim {
    fn from(Read { path, stamp, sha256 }: &Read) -> Self {
        let (path, sha256) = (path.clone(), sha256.clone());
        Self { path, bytes: stamp.bytes, sha256, stamp: Some(*stamp) }
    }
}

impl Record {
    /// Whose the step is.
    pub fn owner(&self) -> Owner<'_> {
        Owner { job: &self.job, manifest: &self.manifest }
    }

    /// What tells the step from all others of the workspace, in the names of files.
    pub fn short_name(&self) -> String {
        let mut name = hex::encode(Sha256::digest(format!("{}\n{}", self.job, self.step)));
        name.truncate(16);
        name
    }

    /// The same for a worker on another machine.
    pub fn for_elsewhere(mut self) -> Self {
        for claim in self.reads.iter_mut().chain(&mut self.replaces) {
            claim.stamp = None;
        }
        self
    }
}
