//! What the job's lock file holds of the checkpoint's files, and what is to be accepted into it.

use std::collections::{BTreeMap, BTreeSet};

use super::{FileFact, Plan};
use crate::steps::StepError;

impl Plan {
    /// Takes the checkpoint's files as they are, whatever the lock says of them. Digests that the
    /// manifest itself gives still hold.
    pub fn accept_inputs(&mut self) {
        self.replaced_pins = Some(std::mem::take(&mut self.job.input.pinned));
    }

    /// What the job's lock file should hold, if that is not what it does: the digests of all of the
    /// checkpoint's files that the manifest gives none for.
    pub fn pins(&self) -> Result<Option<BTreeMap<String, String>>, StepError> {
        let input = &self.job.input;
        let mut pins = input.pinned.clone();
        for name in self.unpinned() {
            if let FileFact::Known { sha256, .. } = self.file(&input.checkpoint.join(name))? {
                pins.insert(name.clone(), sha256);
            }
        }
        let held = self.replaced_pins.as_ref().unwrap_or(&input.pinned);
        Ok((pins != *held).then_some(pins))
    }

    /// Whether digests will have to be written into the lock.
    pub(super) fn lacks_pins(&self) -> bool {
        self.unpinned().next().is_some()
    }

    /// The checkpoint's files for which neither the manifest nor the lock has a digest that counts.
    fn unpinned(&self) -> impl Iterator<Item = &String> {
        let input = &self.job.input;
        let has =
            |name: &String| input.sha256.contains_key(name) || input.pinned.contains_key(name);
        self.inputs.checkpoint.iter().filter(move |name| !has(name))
    }

    /// Which of the checkpoint's files are there that the lock does not know, and which are not that it
    /// does; in words. What is converted depends on which there are.
    pub(super) fn changes_of_the_set(&self) -> Vec<String> {
        let input = &self.job.input;
        if input.pinned.is_empty() || !self.inputs.problems.is_empty() {
            return Vec::new();
        }
        let lock = self.job.lock.strip_prefix(&self.job.workspace).unwrap_or(&self.job.lock);
        let say = |name: &String, what: &str, remedy: &str| {
            let path = input.checkpoint.join(name);
            format!(
                "{path} {what} {lock}; {remedy}, or run with --accept-inputs, which takes the \
                     files as they are now"
            )
        };
        let gone = input.pinned.keys().filter(|name| !self.inputs.checkpoint.contains(name));
        let gone = gone.map(|name| say(name, "is not there any more, and is in", "put it back"));
        let new = self.unpinned().map(|name| say(name, "is new: it is not in", "take it away"));
        gone.chain(new).collect()
    }

    /// What was accepted, once it is in the lock: a step has read the checkpoint and found it good.
    pub fn accepted_and_pinned(&self) -> Result<Vec<String>, StepError> {
        let mut readers = self.graph.nodes().filter(|node| self.reads_checkpoint(node));
        if readers.any(|node| self.done(&node.id).is_some()) {
            return self.accepted();
        }
        Ok(Vec::new())
    }

    /// What accepting the inputs changes in the lock, file by file, as far as it is known; nothing
    /// where nothing was asked to be accepted.
    pub fn accepted(&self) -> Result<Vec<String>, StepError> {
        let Some(held) = self.replaced_pins.as_ref().filter(|held| !held.is_empty()) else {
            return Ok(Vec::new());
        };
        let input = &self.job.input;
        let names: BTreeSet<&String> = held.keys().chain(&self.inputs.checkpoint).collect();
        let mut changes = Vec::new();
        for name in names.into_iter().filter(|name| !input.sha256.contains_key(*name)) {
            let change = match (held.get(name), self.file(&input.checkpoint.join(name))?) {
                (Some(old), FileFact::Known { sha256, .. }) if *old == sha256 => continue,
                (Some(old), FileFact::Known { sha256, .. }) => format!("{old} -> {sha256}"),
                (Some(old), FileFact::Unknown { .. }) => {
                    format!("{old} -> what verify will find")
                }
                (Some(old), FileFact::Missing) => format!("gone, was {old}"),
                (None, FileFact::Known { sha256, .. }) => format!("new, {sha256}"),
                (None, FileFact::Unknown { .. }) => "new, not hashed yet".to_owned(),
                (None, FileFact::Missing) => continue,
            };
            changes.push(format!("{name}: {change}"));
        }
        Ok(changes)
    }
}
