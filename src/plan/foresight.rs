//! What is known to fail before anything runs: places that cannot be written, inputs that are no
//! models, texts and prompts that do not fit. An hour of work should not end in one of them.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::ingredients::Input;
use super::layout::{Node, PUBLISH, REPORT};
use super::{Demand, Plan, names};
use crate::files::why_not_writable;
use crate::gguf::{self, TensorSource};
use crate::manifest::ReferenceOrigin;
use crate::steps::{StepError, StepSpec};

impl Plan {
    /// Adds to `demand` what will fail of the steps that run; `context` is the longest text of the
    /// models that the job makes, where it is known.
    pub(super) fn foresee(
        &self,
        demand: &mut Demand,
        context: Option<u64>,
        runs: impl Fn(usize) -> bool,
    ) -> Result<(), StepError> {
        let steps: Vec<usize> = (0..self.graph.len()).filter(|s| runs(*s)).collect();
        let nodes: Vec<&Node> = steps.iter().map(|s| self.graph.node(*s)).collect();
        self.find_unwritable(demand, &nodes)?;
        find_too_long(demand, &nodes, context, "the model");
        self.find_short_corpora(demand, &nodes);
        for reference in &self.job.references {
            let is_given = matches!(reference.origin, ReferenceOrigin::Given { .. });
            let reads = |step: &usize| {
                let inputs = self.inputs_of(*step);
                inputs
                    .iter()
                    .any(|i| matches!(i, Input::File { path, .. } if *path == reference.gguf))
            };
            let readers: Vec<&Node> =
                steps.iter().filter(|s| reads(s)).map(|s| self.graph.node(*s)).collect();
            if !is_given || readers.is_empty() || !reference.gguf.is_file() {
                continue;
            }
            let name = format!("reference {}", reference.name);
            match gguf::File::outline(&reference.gguf) {
                Ok(file) => {
                    find_too_long(demand, &readers, file.metadata().context_length(), &name);
                }
                Err(e) => demand.input_problems.push(format!("{name}: {e}")),
            }
        }
        Ok(())
    }

    /// Looks at the directories that `nodes` and the run itself write to.
    fn find_unwritable(&self, demand: &mut Demand, nodes: &[&Node]) -> Result<(), StepError> {
        let job = &self.job;
        let mut places: Vec<(String, Utf8PathBuf)> = Vec::new();
        if !nodes.is_empty() {
            let state = crate::state::directory(&job.workspace).join("state.db");
            places.push(("the workspace's state".to_owned(), state));
        }
        for node in nodes {
            if let Some((key, template)) = self.destination(node) {
                places.push((key.to_owned(), template.into()));
            }
            match (node.id.as_str(), &job.publish) {
                (REPORT, _) => {
                    places.push(("bench.out".to_owned(), job.bench.out.clone()));
                    places.push(("report.dir".to_owned(), job.report.dir.join("x")));
                }
                (PUBLISH, Some(publish)) => {
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
        if !nodes.is_empty()
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

    /// A token is a byte or more of text.
    fn find_short_corpora(&self, demand: &mut Demand, nodes: &[&Node]) {
        let Some(evaluate) = &self.job.evaluate else { return };
        if !nodes.iter().any(|node| matches!(node.draft, StepSpec::Evaluate(_))) {
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

/// Holds what `nodes` have a model read against the longest text that it, or `whose` model, takes.
fn find_too_long(demand: &mut Demand, nodes: &[&Node], context: Option<u64>, whose: &str) {
    let Some(context) = context else { return };
    let asked: BTreeSet<_> = nodes.iter().filter_map(|node| node.draft.longest_text()).collect();
    for (keys, tokens) in asked.into_iter().filter(|(_, tokens)| *tokens > context) {
        demand.manifest_problems.push(format!(
            "{keys} ask for a text of {tokens} tokens, and {whose} reads at most {context}"
        ));
    }
}
