//! What each step of a plan makes the machine do, and how long that will take where it is not known from
//! a run before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::probe::{Wanted, probe};
use super::{Load, Work};
use crate::files::existing_ancestor;
use crate::gguf::{self, TensorSource};
use crate::manifest::Evaluate;
use crate::plan::graph::{Target, Task};
use crate::plan::ingredients::greedy_tokens;
use crate::plan::{Demand, FileFact, Judgement, Plan, Verdict};
use crate::state;
use crate::steps::StepError;

/// A process to start, a file to map, a vocabulary to read.
const START: Duration = Duration::from_millis(100);
/// What a benchmark takes to see how fast memory is.
const BANDWIDTH: Duration = Duration::from_millis(500);
/// Bytes of a text in a token, about: English in a vocabulary of 200,000.
const TOKEN_BYTES: u64 = 4;
/// Tokens of the fixed prompt that load check and comparison read, about.
const PROMPT: u64 = 64;
/// Tokens that the load check generates.
const CHECKED: u64 = 16;

/// A model of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Model {
    Converted,
    Format(usize),
    Reference(usize),
}

impl From<Target> for Model {
    fn from(target: Target) -> Self {
        match target {
            Target::Format(f) => Model::Format(f),
            Target::Reference(r) => Model::Reference(r),
        }
    }
}

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
        let mut loads = Loads { plan: self, demand, opened: BTreeMap::new() };
        for (step, judgement) in judgements.iter().enumerate() {
            let known = loads.demand.steps[step].last_duration_ms.is_some();
            if judgement.verdict == Verdict::Fresh || known || self.is_left_out(step) {
                continue;
            }
            if let Some(work) = loads.work(step)? {
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
            let time = work.time(&rates).and_then(|time| i64::try_from(time.as_millis()).ok());
            demand.steps[step].estimated_duration_ms = time;
        }
        Ok(())
    }
}

/// What is known of the job's models.
struct Loads<'a> {
    plan: &'a Plan,
    demand: &'a Demand,
    /// Of files that are there.
    opened: BTreeMap<Model, Option<Load>>,
}

impl Loads<'_> {
    /// What `step` makes the machine do, where headers tell.
    fn work(&mut self, step: usize) -> Result<Option<Work>, StepError> {
        let (plan, demand) = (self.plan, self.demand);
        let mut work = Work { fixed: START, ..Work::default() };
        let bench = &plan.job.bench;
        match plan.graph.node(step).task {
            Task::Verify => {
                let mut largest = 0;
                for path in plan.inputs.expected(&plan.job).into_keys() {
                    if let FileFact::Unknown { bytes } = plan.file(&path)? {
                        work.hash = work.hash.saturating_add(bytes);
                        largest = largest.max(bytes);
                    }
                }
                // Side by side, each by one thread.
                let threads = plan.machine.host.threads.max(1) as u64;
                work.hash = largest.max(work.hash / threads);
            }
            Task::Convert | Task::Quantize(_) => {
                let Some(file) = demand.models.get(&step) else { return Ok(None) };
                (work.hash, work.write) = (file.bytes, file.bytes);
                (work.dequantize, work.quantize) = (file.dequantize, file.quantize.clone());
            }
            Task::LoadCheck(f) => {
                let Some(load) = self.of(Model::Format(f)) else { return Ok(None) };
                work.read = load.bytes;
                load.add_prompt(&mut work, 2 * PROMPT, PROMPT);
                load.add_generation(&mut work, CHECKED);
            }
            Task::Bench(target) => {
                let Some(load) = self.of(target.into()) else { return Ok(None) };
                let runs = u64::from(bench.warmups) + u64::from(bench.runs);
                load.add_prompt(&mut work, runs * u64::from(bench.prompt_tokens), runs);
                load.add_generation(&mut work, runs * u64::from(bench.generate_tokens));
                work.fixed += BANDWIDTH;
            }
            Task::Evaluate(f) => {
                let Some(evaluate) = &plan.job.evaluate else { return Ok(None) };
                let converted = plan.job.convert.gguf.as_ref().map(|_| Model::Converted);
                let references = (0..plan.job.references.len()).filter(|r| !self.is_missing(*r));
                let models = std::iter::once(Model::Format(f)).chain(converted);
                for model in models.chain(references.map(Model::Reference)).collect::<Vec<_>>() {
                    let Some(load) = self.of(model) else { return Ok(None) };
                    let tokens = windows(evaluate) * u64::from(evaluate.context);
                    load.add_prompt(&mut work, tokens, tokens / 2);
                }
            }
            Task::Compare { format, reference } => {
                let tokens = u64::from(greedy_tokens(&plan.job));
                let reference = self.of(Model::Reference(reference));
                let Some((a, b)) = self.of(Model::Format(format)).zip(reference) else {
                    return Ok(None);
                };
                work.read = a.bytes.saturating_add(b.bytes);
                work.dequantize = a.weights.saturating_add(b.weights);
                b.add_prompt(&mut work, PROMPT, 1);
                b.add_generation(&mut work, tokens);
                a.add_prompt(&mut work, PROMPT + tokens, tokens);
            }
            Task::Report => {}
            Task::Publish => {
                let bytes = demand.steps[step].copied_bytes;
                (work.hash, work.write) = (bytes, bytes);
            }
        }
        Ok(Some(work))
    }

    fn is_missing(&self, reference: usize) -> bool {
        let name = &self.plan.job.references[reference].name;
        self.plan.missing_references().iter().any(|missing| missing.name == *name)
    }

    /// What `model` makes the machine do: one that will be written, or a file that is there.
    fn of(&mut self, model: Model) -> Option<Load> {
        let (plan, demand) = (self.plan, self.demand);
        let task = match model {
            Model::Converted => Task::Convert,
            Model::Format(f) => Task::Quantize(Target::Format(f)),
            Model::Reference(r) => Task::Quantize(Target::Reference(r)),
        };
        let planned = plan.graph.find(task).and_then(|step| demand.models.get(&step)?.load.clone());
        let open = || {
            let path = match (plan.done(task), model) {
                (Some(done), _) => &done.outputs.first()?.path,
                (None, Model::Reference(r)) => &plan.job.references[r].gguf,
                (None, _) => return None,
            };
            let file = gguf::File::outline(path).ok()?;
            Load::of(file.metadata(), file.tensors())
        };
        planned.or_else(|| self.opened.entry(model).or_insert_with(open).clone())
    }
}

/// Windows that an evaluation reads, about.
fn windows(evaluate: &Evaluate) -> u64 {
    let window = TOKEN_BYTES * u64::from(evaluate.context).max(1);
    let of = |path: &camino::Utf8PathBuf| path.metadata().map_or(0, |m| m.len()) / window;
    let all: u64 = evaluate.corpus.iter().map(of).sum();
    evaluate.max_windows.map_or(all, |most| all.min(most.into())).max(1)
}
