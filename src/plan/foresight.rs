//! What is known to fail before anything runs: places that cannot be written, inputs that are no
//! models, texts and prompts that do not fit. An hour of work should not end in one of them.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::graph::{Target, Task};
use super::ingredients::greedy_tokens;
use super::{Demand, Plan, names};
use crate::files::why_not_writable;
use crate::gguf::{self, TensorSource};
use crate::manifest::ReferenceOrigin;
use crate::steps::StepError;

impl Plan {
    /// Adds to `demand` what will fail of the steps that run; `context` is the longest text of the
    /// models that the job makes, where it is known.
    pub(super) fn foresee(
        &self,
        demand: &mut Demand,
        context: Option<u64>,
        runs: impl Fn(usize) -> bool,
    ) -> Result<(), StepError> {
        let tasks: Vec<Task> =
            (0..self.graph.len()).filter(|s| runs(*s)).map(|s| self.graph.node(s).task).collect();
        self.find_unwritable(demand, &tasks)?;
        self.find_too_long(demand, &tasks, context, "the model");
        self.find_short_corpora(demand, &tasks);
        let mut references = BTreeSet::new();
        for task in &tasks {
            match task {
                Task::Bench(Target::Reference(r)) | Task::Compare { reference: r, .. } => {
                    references.insert(*r);
                }
                Task::Evaluate(_) => references.extend(0..self.job.references.len()),
                _ => {}
            }
        }
        for reference in references.into_iter().map(|r| &self.job.references[r]) {
            let is_given = matches!(reference.origin, ReferenceOrigin::Given { .. });
            if !is_given || !reference.gguf.is_file() {
                continue;
            }
            let name = format!("reference {}", reference.name);
            match gguf::File::outline(&reference.gguf) {
                Ok(file) => {
                    self.find_too_long(demand, &tasks, file.metadata().context_length(), &name)
                }
                Err(e) => demand.input_problems.push(format!("{name}: {e}")),
            }
        }
        Ok(())
    }

    /// Looks at the directories that `tasks` and the run itself write to.
    fn find_unwritable(&self, demand: &mut Demand, tasks: &[Task]) -> Result<(), StepError> {
        let job = &self.job;
        let mut places: Vec<(String, Utf8PathBuf)> = Vec::new();
        if !tasks.is_empty() {
            let state = crate::state::directory(&job.workspace).join("state.db");
            places.push(("the workspace's state".to_owned(), state));
        }
        for task in tasks {
            if let Some((key, template)) = self.destination(*task) {
                places.push((key.to_owned(), template.into()));
            }
            match (task, &job.publish) {
                (Task::Report, _) => {
                    places.push(("bench.out".to_owned(), job.bench.out.clone()));
                    places.push(("report.dir".to_owned(), job.report.dir.join("x")));
                }
                (Task::Publish, Some(publish)) => {
                    places.push(("publish.to".to_owned(), publish.to.join("x")));
                    let list = names::list_template(job).map(Utf8PathBuf::from);
                    places.extend(list.map(|list| ("publish.sha256_list".to_owned(), list)));
                }
                _ => {}
            }
        }
        let mut told = BTreeSet::new();
        for (key, path) in places {
            if let Some(why) = why_not_writable(&path)
                && told.insert(why.clone())
            {
                demand.problems.push(format!(
                    "{key}: {why}; let this user write there, or name another place"
                ));
            }
        }
        if !tasks.is_empty()
            && self.lacks_pins()
            && let Some(why) = why_not_writable(&job.lock)
        {
            demand.problems.push(format!(
                "{} is to hold the digests of the checkpoint's files, and {why}; let this user \
                 write there, copy the manifest to another directory, or give the digest of every \
                 file in its `sha256` under [input]",
                job.lock
            ));
        }
        Ok(())
    }

    /// Holds what `tasks` have a model read against the longest text that it, or `whose` model,
    /// takes.
    fn find_too_long(
        &self,
        demand: &mut Demand,
        tasks: &[Task],
        context: Option<u64>,
        whose: &str,
    ) {
        let Some(context) = context else { return };
        let bench = &self.job.bench;
        let mut check = |keys: &str, tokens: u64, applies: fn(&Task) -> bool| {
            if tokens > context && tasks.iter().any(applies) {
                demand.manifest_problems.push(format!(
                    "{keys} ask for a text of {tokens} tokens, and {whose} reads at most {context}"
                ));
            }
        };
        check(
            "bench.prompt_tokens and bench.generate_tokens",
            u64::from(bench.prompt_tokens) + u64::from(bench.generate_tokens),
            |task| matches!(task, Task::Bench(_)),
        );
        if let Some(evaluate) = &self.job.evaluate {
            check("the windows of evaluate.context", evaluate.context.into(), |task| {
                matches!(task, Task::Evaluate(_))
            });
        }
        // Behind a prompt of one token at least.
        check(
            "evaluate.greedy_tokens and their prompt",
            u64::from(greedy_tokens(&self.job)) + 1,
            |task| matches!(task, Task::Compare { .. }),
        );
    }

    /// A token is a byte or more of text.
    fn find_short_corpora(&self, demand: &mut Demand, tasks: &[Task]) {
        let Some(evaluate) = &self.job.evaluate else { return };
        if !tasks.iter().any(|task| matches!(task, Task::Evaluate(_))) {
            return;
        }
        let bytes = |path: &Utf8Path| path.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
        for path in &evaluate.corpus {
            if let Some(bytes) = bytes(path)
                && bytes < evaluate.context.into()
            {
                demand.input_problems.push(format!(
                    "evaluate.corpus: {path} has {bytes} bytes, too few for one window of {} \
                     tokens (evaluate.context); take a longer text or a smaller window",
                    evaluate.context
                ));
            }
        }
    }
}
