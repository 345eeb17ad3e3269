//! From what is known now to a verdict per step: while planning, once from top to bottom; while
//! running, again for each step as soon as all that it waits for has ended.

use super::ingredients::{self, Input};
use super::layout::{Node, PUBLISH, REPORT, VERIFY};
use super::release::Release;
use super::{Done, FileFact, Plan, Reason, StepState, Verdict, key, names};
use crate::state::{Action, Ingredient, Owner};
use crate::steps::{Load, StepError};

/// A verdict and what it was found from.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub verdict: Verdict,
    /// The success that holds, for a fresh step; verify has none.
    pub action: Option<Action>,
    /// What goes into it, once all of it is known.
    pub ingredients: Option<Vec<Ingredient>>,
}

impl Plan {
    /// Judges every step in order, as if nothing were to run meanwhile.
    pub fn judge_all(&mut self) -> Result<Vec<Judgement>, StepError> {
        let mut all = Vec::with_capacity(self.graph.len());
        for step in 0..self.graph.len() {
            let judgement = self.judge(step)?;
            self.states[step] = match (&judgement.verdict, &judgement.action) {
                (Verdict::Fresh, Some(action)) => StepState::Fresh(action.into()),
                (Verdict::Fresh, None) => StepState::Fresh(Done::nothing()),
                _ => StepState::Ahead,
            };
            all.push(judgement);
        }
        Ok(all)
    }

    /// Judges `step` by what is known now.
    pub fn judge(&self, step: usize) -> Result<Judgement, StepError> {
        let node = self.graph.node(step);
        let forced = self.selection.forced.contains(&step);
        if node.id == VERIFY {
            return self.judge_verify(forced);
        }
        let list = self.ingredients(step)?;
        let waits = unique(list.iter().flat_map(|i| i.waits_for.clone()));
        let known: Vec<(String, Option<String>)> =
            list.into_iter().map(|i| (i.name, i.value)).collect();
        let ingredients: Option<Vec<Ingredient>> =
            known.iter().map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        let verdict =
            |verdict, action| Judgement { verdict, action, ingredients: ingredients.clone() };
        let stale = |reasons| verdict(Verdict::Stale { reasons }, None);
        if forced {
            return Ok(stale(vec![Reason::Forced]));
        }
        let last = match &self.state {
            Some(state) => state.last_action(self.owner(), &node.id)?,
            None => None,
        };
        let changed = || match &last {
            Some(last) => key::differences(&last.ingredients, &known),
            None => vec![Reason::NeverRun],
        };
        let or_never = |mut reasons: Vec<Reason>| {
            // The same was done, for another manifest.
            if reasons.is_empty() {
                reasons.push(Reason::NeverRun);
            }
            reasons
        };
        let Some(all) = &ingredients else {
            let reasons = changed();
            return Ok(if reasons.is_empty() {
                verdict(Verdict::WaitsFor { steps: waits }, None)
            } else {
                stale(reasons)
            });
        };
        let (mut reasons, mut unknown) = (None, false);
        for action in self.successes(node, &key::key(all))? {
            match self.judge_outputs(node, &action)? {
                Outputs::Intact => return Ok(verdict(Verdict::Fresh, Some(action))),
                Outputs::Broken(why) => reasons = reasons.or(Some(why)),
                Outputs::Unknown => unknown = true,
            }
        }
        if unknown {
            let verify = self.graph.node(0).id.clone();
            return Ok(verdict(Verdict::WaitsFor { steps: vec![verify] }, None));
        }
        Ok(stale(or_never(reasons.unwrap_or_else(changed))))
    }

    /// What counts as a success of `node` under `key`, this manifest's own first: whoever did the
    /// same work has done it for all. A report and what is published bear the name of their job,
    /// and so are its own.
    fn successes(&self, node: &Node, key: &str) -> Result<Vec<Action>, StepError> {
        let Some(state) = &self.state else { return Ok(Vec::new()) };
        let Owner { job, manifest } = self.owner();
        // A manifest that is gone has become this one: it was renamed.
        let is_own = |a: &Action| {
            a.job == job
                && (a.manifest == manifest
                    || a.manifest.as_str().is_empty()
                    || !a.manifest.exists())
        };
        let mut all = state.successes(key)?;
        all.retain(|a| is_own(a) || ![REPORT, PUBLISH].contains(&node.id.as_str()));
        // Of two files that are the same each is measured for itself: how they differ tells how loud
        // the machine is.
        all.retain(|a| a.step == node.id || node.draft.kind().load != Load::Alone);
        all.sort_by_key(|a| (!is_own(a), a.step != node.id));
        Ok(all)
    }

    fn judge_verify(&self, forced: bool) -> Result<Judgement, StepError> {
        let mut problems = self.inputs.problems.clone();
        let (mut files, mut unknown) = (0, 0);
        for (path, expected) in self.inputs.expected(&self.job) {
            match self.file(&path)? {
                FileFact::Missing if self.inputs.problems.is_empty() => {
                    problems.push(format!("{path} is not there any more"));
                }
                FileFact::Missing => {}
                FileFact::Unknown { bytes } => {
                    files += 1;
                    unknown += bytes;
                }
                FileFact::Known { bytes, sha256 } => {
                    if forced {
                        files += 1;
                        unknown += bytes;
                    } else if let Some(expected) = expected
                        && expected != sha256
                    {
                        let remedy = self.remedy(&expected);
                        problems.push(format!(
                            "{path} has SHA-256 {sha256}, expected {expected}; fetch it again, \
                            or, if it was meant to change, {remedy}"
                        ));
                    }
                }
            }
        }
        problems.extend(self.changes_of_the_set());
        let verdict = if !problems.is_empty() {
            Verdict::Blocked { problems }
        } else if forced {
            Verdict::Stale {
                reasons: vec![Reason::Forced, Reason::Unverified { files, bytes: unknown }],
            }
        } else if files > 0 {
            Verdict::Stale { reasons: vec![Reason::Unverified { files, bytes: unknown }] }
        } else {
            Verdict::Fresh
        };
        let ingredients = Some(Vec::new());
        Ok(Judgement { verdict, action: None, ingredients })
    }

    /// What makes another file than that with the digest `expected` be accepted.
    fn remedy(&self, expected: &str) -> String {
        let job = &self.job;
        if !job.input.sha256.values().any(|sha256| sha256 == expected) {
            return format!(
                "run with --accept-inputs, which takes it into {}",
                job.lock.strip_prefix(&job.workspace).unwrap_or(&job.lock)
            );
        }
        let manifest = job.manifest.strip_prefix(&job.workspace).unwrap_or(&job.manifest);
        let text = std::fs::read_to_string(&job.manifest).unwrap_or_default().to_lowercase();
        match text.lines().position(|line| line.contains(expected)) {
            Some(line) => format!("correct its digest in line {} of {manifest}", line + 1),
            None => format!("correct its digest in {manifest}"),
        }
    }

    /// What a success wrote: is it there, as it was, and where the manifest wants it now?
    fn judge_outputs(&self, node: &Node, action: &Action) -> Result<Outputs, StepError> {
        let mut reasons = Vec::new();
        let mut unknown = false;
        for output in &action.outputs {
            match self.is_intact(output)? {
                Some(true) => {}
                None => unknown = true,
                Some(false) if output.path.exists() => {
                    reasons.push(Reason::Overwritten { path: output.path.clone() });
                }
                Some(false) => reasons.push(Reason::Gone { path: output.path.clone() }),
            }
        }
        if let Some((field, template)) = self.destination(node)
            && let Some(output) = action.outputs.first()
            && !names::matches(&template, &names::named_after(&output.path, node.draft.is_split()))
        {
            reasons.push(Reason::Changed {
                field: field.to_owned(),
                old: Some(output.path.to_string()),
                new: Some(template),
            });
        }
        Ok(match (reasons.is_empty(), unknown) {
            (false, _) => Outputs::Broken(reasons),
            (true, true) => Outputs::Unknown,
            (true, false) => Outputs::Intact,
        })
    }

    /// Whether nothing speaks against what a success wrote.
    pub(super) fn may_be_intact(&self, node: &Node, action: &Action) -> Result<bool, StepError> {
        Ok(!matches!(self.judge_outputs(node, action)?, Outputs::Broken(_)))
    }

    /// The manifest's key for the place of the model file that a step writes, and the place with
    /// `{timestamp}` in it.
    pub(super) fn destination(&self, node: &Node) -> Option<(&'static str, String)> {
        let out = node.draft.clone().out()?.path.to_string();
        Some((node.destination?, out))
    }

    /// Everything that goes into `step`.
    pub(super) fn inputs_of(&self, step: usize) -> Vec<Input> {
        let node = self.graph.node(step);
        ingredients::inputs(node, &self.job.workspace, &self.inputs, &self.machine)
    }

    /// Everything that goes into the key of `step`, with values as far as they are known.
    pub(super) fn ingredients(&self, step: usize) -> Result<Vec<Known>, StepError> {
        self.inputs_of(step).into_iter().filter_map(|input| self.value(input).transpose()).collect()
    }

    fn value(&self, input: Input) -> Result<Option<Known>, StepError> {
        let (name, value, step) = match input {
            Input::Parameter { name, value } => (name, Some(value), String::new()),
            Input::File { name, path } => match self.file(&path)? {
                FileFact::Known { sha256, .. } => (name, Some(sha256), String::new()),
                _ => (name, None, VERIFY.to_owned()),
            },
            Input::Named { name, path } => {
                let sha256 = self.digest_to_name(&path)?;
                let value = sha256.map(|sha256| sha256.unwrap_or_else(|| "not known".into()));
                (name, value, VERIFY.to_owned())
            }
            Input::Output { name, step } => {
                let digests = |done: &Done| {
                    let parts = done.outputs.iter().map(|file| file.sha256.as_str());
                    parts.collect::<Vec<_>>().join(" ")
                };
                (name, self.done(&step).map(digests).filter(|d| !d.is_empty()), step)
            }
            Input::Ended { name, step } => {
                let Some(number) = self.graph.find(&step) else { return Ok(None) };
                let value = match &self.states[number] {
                    StepState::Fresh(done) | StepState::Done(done) => {
                        Some(done.result_sha256.clone())
                    }
                    StepState::Failed(message) => Some(format!("failed: {message}")),
                    StepState::Skipped(reason) => Some(format!("skipped: {reason}")),
                    StepState::Undecided | StepState::Ahead | StepState::Running => None,
                };
                (name, value, step)
            }
            Input::Release { name, format } => {
                let release = self.release(format);
                let waits_for = match &release {
                    Release::WaitsFor(steps) => steps.clone(),
                    _ => Vec::new(),
                };
                return Ok(Some(Known { name, value: release.ingredient(), waits_for }));
            }
            Input::After(_) => return Ok(None),
        };
        let waits_for = if value.is_none() { vec![step] } else { Vec::new() };
        Ok(Some(Known { name, value, waits_for }))
    }
}

/// An ingredient as far as it is known.
pub(super) struct Known {
    pub name: String,
    pub value: Option<String>,
    /// The steps after which it will be known.
    waits_for: Vec<String>,
}

enum Outputs {
    Intact,
    /// Only reading them could tell.
    Unknown,
    Broken(Vec<Reason>),
}

fn unique(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut list = Vec::new();
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
    list
}
