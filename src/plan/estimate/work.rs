//! How long each step of a plan will take where it is not known from a run before.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::probe::{Wanted, probe};
use super::time;
use crate::files::existing_ancestor;
use crate::gguf::{self, TensorSource};
use crate::plan::layout::{PUBLISH, VERIFY};
use crate::plan::{Demand, FileFact, Judgement, Plan, Verdict};
use crate::state;
use crate::steps::{FileRef, ModelCost, StepError, Work};

impl Plan {
    /// Adds to `demand` about how long the steps will take that run and never did. If there are some,
    /// the machine is tried for about half a second.
    ///
    /// # Errors
    /// If a file cannot be looked at.
    pub fn estimate(&self, judgements: &[Judgement], demand: &mut Demand) -> Result<(), StepError> {
        if judgements.iter().any(|j| matches!(j.verdict, Verdict::Blocked { .. })) {
            return Ok(());
        }
        let mut works = Vec::new();
        let mut models = Models { plan: self, demand, opened: BTreeMap::new() };
        for (step, judgement) in judgements.iter().enumerate() {
            let known = models.demand.steps[step].last_duration_ms.is_some();
            if judgement.verdict == Verdict::Fresh || known || self.is_left_out(step) {
                continue;
            }
            if let Some(work) = models.work(step)? {
                works.push((step, work));
            }
        }
        if works.is_empty() {
            return Ok(());
        }
        let any = |wants: fn(&Work) -> bool| works.iter().any(|(_, work)| wants(work));
        let directory = existing_ancestor(&state::directory(&self.job.workspace));
        let rates = probe(&Wanted {
            threads: self.machine.host.threads,
            available_ram: self.machine.host.available_ram_bytes,
            quantizers: works.iter().flat_map(|(_, w)| w.quantize.keys().copied()).collect(),
            directory: any(|work| work.write > 0).then_some(&directory),
            memory: any(|work| work.read > 0),
            products: any(|work| work.products > 0),
            float_products: any(|work| work.float_products > 0),
        });
        for (step, work) in works {
            let time = time(&work, &rates).and_then(|time| i64::try_from(time.as_millis()).ok());
            demand.steps[step].estimated_duration_ms = time;
        }
        Ok(())
    }

    /// Bytes that verify will hash, as if by one thread.
    fn unhashed_bytes(&self) -> Result<u64, StepError> {
        let (mut all, mut largest) = (0u64, 0);
        for path in self.inputs.expected(&self.job).into_keys() {
            if let FileFact::Unknown { bytes } = self.file(&path)? {
                all = all.saturating_add(bytes);
                largest = largest.max(bytes);
            }
        }
        // Side by side, each by one thread.
        Ok(largest.max(all / self.machine.host.threads.max(1) as u64))
    }
}

/// What is known of the job's models.
struct Models<'a> {
    plan: &'a Plan,
    demand: &'a Demand,
    /// Of files that are there.
    opened: BTreeMap<Utf8PathBuf, Option<ModelCost>>,
}

impl Models<'_> {
    /// What `step` makes the machine do, where headers tell.
    fn work(&mut self, step: usize) -> Result<Option<Work>, StepError> {
        let (plan, demand) = (self.plan, self.demand);
        let node = plan.graph.node(step);
        let own = demand.models.get(&step);
        let Some(mut work) = node.draft.work(own, &mut |file| self.of(file)) else {
            return Ok(None);
        };
        match node.id.as_str() {
            VERIFY => work.hash = plan.unhashed_bytes()?,
            PUBLISH => {
                let bytes = demand.steps[step].copied_bytes;
                (work.hash, work.write) = (bytes, bytes);
            }
            _ => {}
        }
        Ok(Some(work))
    }

    /// What the model in `file` makes the machine do: one that will be written, or is there.
    fn of(&mut self, file: &FileRef) -> Option<ModelCost> {
        let mut path = file.path.clone();
        if let Some(maker) = &file.made_by {
            let step = self.plan.graph.find(maker)?;
            if let Some(work) = self.demand.models.get(&step).and_then(|m| m.cost.clone()) {
                return Some(work);
            }
            path = self.plan.done(maker)?.outputs.first()?.path.clone();
        }
        let open = |path: &Utf8PathBuf| {
            let file = gguf::File::outline(path).ok()?;
            ModelCost::of(file.metadata(), file.tensors())
        };
        self.opened.entry(path.clone()).or_insert_with(|| open(&path)).clone()
    }
}
