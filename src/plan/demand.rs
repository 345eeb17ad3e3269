//! What a plan asks of the machine: exact output sizes from the headers, memory, time; and whether
//! the machine has it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::headers::Headers;
use super::layout::{PUBLISH, Target, maker};
use super::render::size;
use super::{FileFact, Judgement, Plan, Verdict, names};
use crate::files::{FileId, can_share_blocks, existing_ancestor, free_bytes};
use crate::host::memory_limit::MemoryLimit;
use crate::steps::{ErrorClass, FileRef, PlannedModel, StepError};

/// Buffers of a step that maps a model: activations, key-value caches, a few rows of logits.
const WORKING_SET: u64 = 512 << 20;

/// What a plan asks of the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Demand {
    #[serde(skip)]
    pub steps: Vec<StepDemand>,
    /// The model files, by step.
    #[serde(skip)]
    pub(super) models: BTreeMap<usize, PlannedModel>,
    /// By file system.
    pub disks: Vec<DiskDemand>,
    pub host_ram_bytes: u64,
    /// What limits that, if not the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<MemoryLimit>,
    /// Both in words.
    #[serde(skip)]
    pub host_ram: String,
    /// Why this machine cannot run the plan, in words.
    pub problems: Vec<String>,
    /// What the manifest asks for and cannot have, in words.
    pub manifest_problems: Vec<String>,
    /// Inputs that are not what they have to be, in words.
    pub input_problems: Vec<String>,
}

/// What one step asks of the machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepDemand {
    /// Exact, from the headers; absent where they cannot be read yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u64>,
    /// Memory that it should find: the files that it maps and its buffers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram_bytes: Option<u64>,
    /// How long its last success took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_duration_ms: Option<i64>,
    /// About how long it will take, where it runs and never did: from sizes and a short trial of this
    /// machine; see [`Plan::estimate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_duration_ms: Option<i64>,
    /// Bytes of files that publish will copy, as far as they are known.
    #[serde(skip)]
    pub copied_bytes: u64,
    /// Publish will share the blocks of files instead of copying them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reflinks: bool,
    /// What it will warn of, as far as headers tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// It waits for others to be judged, and what it wrote last still stands.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_hold: bool,
}

/// What a plan writes to one file system.
#[derive(Clone, Debug, Serialize)]
pub struct DiskDemand {
    /// One of the directories that are written to.
    pub directory: Utf8PathBuf,
    pub needed_bytes: u64,
    pub free_bytes: u64,
    /// Whether every size is known.
    pub exact: bool,
}

impl Plan {
    /// Adds up what the plan asks for, as judged.
    ///
    /// # Errors
    /// If the state or a file system does not answer; [`ErrorClass::Usage`] if the manifest asks
    /// for what the inputs' headers show to be impossible.
    pub fn demand(&self, judgements: &[Judgement]) -> Result<Demand, StepError> {
        let runs =
            |step: usize| judgements[step].verdict != Verdict::Fresh && !self.is_left_out(step);
        let Headers { files, context, problem } = self.read_headers(judgements, runs)?;
        let sizes = files.iter().map(|(&step, file)| (step, file.bytes)).collect();
        let mut steps = Vec::with_capacity(self.graph.len());
        for (step, node) in self.graph.nodes().enumerate() {
            let last = match &self.state {
                Some(state) => state.last_action(self.owner(), &node.id)?,
                None => None,
            };
            steps.push(StepDemand {
                write_bytes: files.get(&step).map(|file| file.bytes),
                ram_bytes: node
                    .draft
                    .mapped_bytes(&|file| self.length(file, &sizes))
                    .map(|bytes| bytes.saturating_add(WORKING_SET)),
                warnings: files.get(&step).map(|file| file.warnings.clone()).unwrap_or_default(),
                last_duration_ms: last.as_ref().map(|action| action.duration_ms),
                may_hold: match (&judgements[step].verdict, &last) {
                    (Verdict::WaitsFor { .. }, Some(last)) => self.may_be_intact(node, last)?,
                    _ => false,
                },
                ..StepDemand::default()
            });
        }
        let mut demand = Demand {
            steps,
            models: files,
            disks: Vec::new(),
            host_ram_bytes: self.machine.host.ram_bytes,
            memory_limit: self.machine.host.memory_limit.clone(),
            host_ram: self.machine.host.ram_in_words(),
            problems: Vec::new(),
            manifest_problems: Vec::new(),
            input_problems: problem.into_iter().collect(),
        };
        if let Some(min) = self.job.host.min_ram
            && self.machine.host.ram_bytes < min
            && (0..self.graph.len()).any(runs)
        {
            demand.problems.push(format!(
                "host.min_ram asks for {} of memory, this {} has {}; run it {}, or lower \
                host.min_ram if the job is known to fit",
                size(min),
                if demand.memory_limit.is_some() { "process" } else { "machine" },
                demand.host_ram,
                if demand.memory_limit.is_some() { "with more" } else { "on a larger one" },
            ));
        }
        self.add_disks(&mut demand, runs)?;
        self.foresee(&mut demand, context, runs)?;
        for step in (0..self.graph.len()).filter(|step| runs(*step)) {
            demand.manifest_problems.extend(self.conflict(step)?);
        }
        Ok(demand)
    }

    /// Adds up, by file system, what the steps that run write.
    fn add_disks(
        &self,
        demand: &mut Demand,
        runs: impl Fn(usize) -> bool,
    ) -> Result<(), StepError> {
        let mut by_device: BTreeMap<u64, DiskDemand> = BTreeMap::new();
        let mut add = |path: &Utf8Path, bytes: Option<u64>| -> Result<(), StepError> {
            let directory = existing_ancestor(path);
            let id = FileId::of(&directory)
                .map_err(|e| StepError::host(format!("cannot look at {directory}: {e}")))?;
            let disk = match by_device.entry(id.device) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(DiskDemand {
                    free_bytes: free_bytes(&directory)?,
                    directory,
                    needed_bytes: 0,
                    exact: true,
                }),
            };
            disk.needed_bytes = disk.needed_bytes.saturating_add(bytes.unwrap_or(0));
            disk.exact &= bytes.is_some();
            Ok(())
        };
        for (step, node) in self.graph.nodes().enumerate().filter(|(step, _)| runs(*step)) {
            // What will most likely be found to hold asks for nothing, as far as is known.
            let may_hold = demand.steps[step].may_hold;
            if let Some((_, template)) = self.destination(node) {
                let begun = self.begun_bytes(&node.id, &template, node.draft.is_split())?;
                let bytes = demand.steps[step].write_bytes.filter(|_| !may_hold);
                add(Utf8Path::new(&template), bytes.map(|bytes| bytes.saturating_sub(begun)))?;
            }
            if let (PUBLISH, Some(publish)) = (node.id.as_str(), &self.job.publish) {
                // A file that is published where it stands, is there already, or can share its blocks, is
                // not copied.
                let mut shares: BTreeMap<Utf8PathBuf, bool> = BTreeMap::new();
                let to = existing_ancestor(&publish.to.join("x"));
                let (mut copied, mut reflinked) = (0u64, false);
                for f in self.job.publishable() {
                    let target = Target::Format(f);
                    let from = names::model_template(&self.job, target);
                    let in_place = Utf8Path::new(&from).parent() == Some(&publish.to);
                    if in_place || self.is_in_place(f)? {
                        continue;
                    }
                    let from = existing_ancestor(Utf8Path::new(&from));
                    let can_share = || can_share_blocks(&from, &to);
                    if *shares.entry(from.clone()).or_insert_with(can_share) {
                        reflinked = true;
                        continue;
                    }
                    let quantize = self.graph.find(&maker(&self.job, target));
                    let bytes = quantize.and_then(|q| demand.steps[q].write_bytes);
                    copied = copied.saturating_add(bytes.unwrap_or(0));
                    add(&publish.to.join("x"), bytes.filter(|_| !may_hold))?;
                }
                let own = &mut demand.steps[step];
                own.reflinks = reflinked && copied == 0;
                own.copied_bytes = copied;
            }
        }
        for disk in by_device.into_values() {
            if disk.needed_bytes > disk.free_bytes {
                demand.problems.push(format!(
                    "{} have to be written to the file system of {}, which has {} free; free {} or \
                    change the paths in the manifest",
                    size(disk.needed_bytes),
                    disk.directory,
                    size(disk.free_bytes),
                    size(disk.needed_bytes - disk.free_bytes)
                ));
            }
            demand.disks.push(disk);
        }
        Ok(())
    }

    /// Length of the unfinished file that an interrupted `step` left under a name of `template`:
    /// the step goes on behind it, or makes its room free again.
    fn begun_bytes(&self, step: &str, template: &str, split: bool) -> Result<u64, StepError> {
        let Some(state) = &self.state else { return Ok(0) };
        let Some(pending) = state.pending(self.owner(), step)? else { return Ok(0) };
        let begun = pending
            .outputs
            .iter()
            .filter(|path| names::matches(template, &names::named_after(path, split)));
        // What cannot be looked at saves nothing.
        let length = |path: &Utf8PathBuf| {
            std::fs::metadata(state.mark().partial(path)).map_or(0, |m| m.len())
        };
        Ok(begun.map(length).sum())
    }

    /// The length of a file that a step reads, or of all its parts, by the lengths of those that are
    /// going to be made; `None` where it is not known.
    fn length(&self, file: &FileRef, sizes: &BTreeMap<usize, u64>) -> Option<u64> {
        if let Some(maker) = &file.made_by {
            return sizes.get(&self.graph.find(maker)?).copied();
        }
        let length = |path: &Utf8PathBuf| match self.file(path).ok()? {
            FileFact::Missing => None,
            FileFact::Unknown { bytes } | FileFact::Known { bytes, .. } => Some(bytes),
        };
        match self.inputs.parts(&file.path) {
            [] => length(&file.path),
            parts => parts.iter().map(length).sum(),
        }
    }
}

/// Refuses a plan that cannot run: an input that is missing or not what it should be, a machine
/// that is too small, or a manifest that asks for what cannot be.
///
/// # Errors
/// [`ErrorClass::Input`], [`ErrorClass::Host`] or [`ErrorClass::Usage`], with everything that is
/// wrong.
pub fn admit(judgements: &[Judgement], demand: &Demand) -> Result<(), StepError> {
    let blocked: Vec<&str> = judgements
        .iter()
        .filter_map(|j| match &j.verdict {
            Verdict::Blocked { problems } => Some(problems),
            _ => None,
        })
        .flatten()
        .map(String::as_str)
        .collect();
    let [host, manifest, input] =
        [&demand.problems, &demand.manifest_problems, &demand.input_problems]
            .map(|list| list.iter().map(String::as_str));
    let class = match (host.len(), manifest.len(), input.len() + blocked.len()) {
        (0, 0, 0) => return Ok(()),
        (0, 0, _) => ErrorClass::Input,
        (0, _, _) => ErrorClass::Usage,
        // No input helps a machine that is too small.
        _ => ErrorClass::Host,
    };
    Err(StepError::new(
        class,
        host.chain(manifest).chain(input).chain(blocked).collect::<Vec<_>>().join("\n"),
    ))
}
