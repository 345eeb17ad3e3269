//! Manifest and state to a step graph with a key and a verdict per step. Runs no step; of how
//! one works inside it knows what the description says, and where publish puts files.

mod conflicts;
mod demand;
mod estimate;
mod fill;
mod foresight;
mod graph;
mod headers;
mod ingredients;
mod input_files;
mod judge;
mod key;
mod launch;
mod layout;
mod matrices;
mod names;
mod pins;
mod release;
pub mod render;
mod select;
mod step_state;
mod verdict;
mod why;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

pub use demand::{Demand, DiskDemand, StepDemand, admit};
pub use graph::{Edge, Graph};
pub use judge::Judgement;
pub use key::Compared;
pub use launch::{Launch, Read};
pub use layout::{Node, PUBLISH, REPORT, Target};
pub use select::{Selection, UnknownStep};
pub use step_state::{Done, StepState};
pub use verdict::{Reason, Verdict, short};
pub use why::Why;

use crate::files::{FileDigest, Stamp};
use crate::host::HostFacts;
use crate::manifest::Job;
use crate::state::{Owner, State};
use crate::steps::StepError;

/// A job's steps, and what is known of each so far.
pub struct Plan {
    pub job: Job,
    graph: Graph,
    /// What the workspace remembers; absent where it remembers nothing.
    state: Option<State>,
    machine: Machine,
    /// What stands where the manifest says that inputs are.
    inputs: input_files::InputFiles,
    /// By step number: how far each one is.
    states: Vec<StepState>,
    /// Stamps of the files that verify is to hash, taken before it started.
    to_verify: BTreeMap<Utf8PathBuf, Stamp>,
    /// Digests that verify found in this run, for files too new to be remembered; each holds as
    /// long as its file has this stamp.
    verified: BTreeMap<Utf8PathBuf, (Stamp, String)>,
    selection: Selection,
    /// What the lock says of files that are to be taken as they are.
    replaced_pins: Option<BTreeMap<String, String>>,
}

/// What measures.
#[derive(Clone, Debug)]
pub struct Machine {
    /// With the threads that this run uses.
    pub host: HostFacts,
    /// SHA-256 of the program.
    pub program: String,
}

/// What is known of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFact {
    Missing,
    /// It is there, and its digest is not known.
    Unknown {
        bytes: u64,
    },
    Known {
        bytes: u64,
        sha256: String,
    },
}

impl Plan {
    /// Lays out the steps of `job` and looks at its inputs, without reading any large file.
    ///
    /// # Errors
    /// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if the state cannot be read or a
    /// directory cannot be listed.
    pub fn new(job: Job, state: Option<State>, machine: Machine) -> Result<Self, StepError> {
        let inputs = input_files::InputFiles::find(&job)?;
        let graph = Graph::build(&job, &inputs, &machine);
        let states = vec![StepState::Undecided; graph.len()];
        let mut plan = Self {
            job,
            graph,
            state,
            machine,
            inputs,
            states,
            to_verify: BTreeMap::new(),
            verified: BTreeMap::new(),
            selection: Selection::default(),
            replaced_pins: None,
        };
        plan.add_lost_outputs()?;
        Ok(plan)
    }

    /// Restricts what runs to `selection`.
    pub fn select(&mut self, selection: Selection) {
        self.selection = selection;
    }

    /// The steps and what leads from one to another.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What the workspace remembers.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Whose the steps are.
    pub fn owner(&self) -> Owner<'_> {
        Owner { job: &self.job.name, manifest: &self.job.manifest }
    }

    /// References that are not required and not there.
    pub fn missing_references(&self) -> &BTreeMap<String, Utf8PathBuf> {
        &self.inputs.missing_references
    }

    /// Whether a success of `node` shows that the checkpoint is one: it makes a model of it.
    pub fn reads_checkpoint(&self, node: &Node) -> bool {
        let after_verify = node.after.iter().any(|step| step == layout::VERIFY);
        node.destination.is_some() && (after_verify || self.job.convert.gguf.is_none())
    }

    /// What is known of a file: what verify found in this run, or what the state remembers.
    fn file(&self, path: &Utf8Path) -> Result<FileFact, StepError> {
        let stamp =
            Stamp::of(path).map_err(|e| StepError::input(format!("cannot look at {path}: {e}")))?;
        let Some(stamp) = stamp else { return Ok(FileFact::Missing) };
        let bytes = stamp.bytes;
        if let Some((verified, sha256)) = self.verified.get(path)
            && *verified == stamp
        {
            return Ok(FileFact::Known { bytes, sha256: sha256.clone() });
        }
        let known = match &self.state {
            Some(state) => state.digest(path, &stamp)?,
            None => None,
        };
        Ok(match known {
            Some(sha256) => FileFact::Known { bytes, sha256 },
            None => FileFact::Unknown { bytes },
        })
    }

    /// Whether a file that a step wrote is still as it left it; `None` where only reading it could
    /// tell.
    fn is_intact(&self, output: &FileDigest) -> Result<Option<bool>, StepError> {
        Ok(match self.file(&output.path)? {
            FileFact::Missing => Some(false),
            FileFact::Unknown { bytes } if bytes != output.bytes => Some(false),
            FileFact::Unknown { .. } => None,
            FileFact::Known { sha256, .. } => Some(sha256 == output.sha256),
        })
    }

    /// Lets verify hash files that steps wrote and whose stamps have changed since (a moved or copied
    /// workspace, a `touch`): reading them is cheaper than making them again.
    fn add_lost_outputs(&mut self) -> Result<(), StepError> {
        let Some(state) = &self.state else { return Ok(()) };
        let mut lost = Vec::new();
        for node in self.graph.nodes() {
            let Some(action) = state.last_action(self.owner(), &node.id)? else { continue };
            for output in action.outputs {
                if self.is_intact(&output)?.is_none() {
                    lost.push(output.path);
                }
            }
        }
        self.inputs.lost_outputs = lost;
        Ok(())
    }
}
