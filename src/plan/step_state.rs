//! How far each step is, and what follows from that for the steps that need it.

use serde_json::Value;

use super::layout::{PUBLISH, VERIFY};
use super::{Edge, Plan};
use crate::files::{FileDigest, Stamp};
use crate::state::Action;

/// How far a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    /// Nothing is decided; some of what it needs may not have ended.
    Undecided,
    /// It will run, or can not be judged before something else has run. Planning only.
    Ahead,
    /// A worker is at it.
    Running,
    /// Its last success still holds.
    Fresh(Done),
    /// It ran in this run.
    Done(Done),
    /// It ran and failed, with this message.
    Failed(String),
    /// It does not run, for this reason.
    Skipped(String),
}

impl StepState {
    /// Whether nothing more will become of it in this run.
    pub fn has_ended(&self) -> bool {
        !matches!(self, StepState::Undecided | StepState::Ahead | StepState::Running)
    }
}

/// What a success left.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub outputs: Vec<FileDigest>,
    pub result: Value,
    /// Of the result, hexadecimal.
    pub result_sha256: String,
    /// When it began, in ms since 1970.
    pub started_ms: i64,
    pub duration_ms: i64,
}

impl Done {
    /// Of a step that has nothing to show, such as a verify that knew everything.
    pub fn nothing() -> Self {
        Self {
            outputs: Vec::new(),
            result: Value::Null,
            result_sha256: String::new(),
            started_ms: 0,
            duration_ms: 0,
        }
    }
}

impl From<&Action> for Done {
    fn from(action: &Action) -> Self {
        Self {
            outputs: action.outputs.clone(),
            result: action.result.clone(),
            result_sha256: action.result_sha256.clone(),
            started_ms: action.started_ms,
            duration_ms: action.duration_ms,
        }
    }
}

impl Plan {
    /// How far `step` is.
    pub fn step_state(&self, step: usize) -> &StepState {
        &self.states[step]
    }

    /// Changes how far `step` is: the one place through which every change goes.
    pub fn set_state(&mut self, step: usize, state: StepState) {
        if self.graph.node(step).id == VERIFY {
            match &state {
                StepState::Running => self.note_stamps(),
                StepState::Done(done) => self.note_digests(step, done),
                _ => {}
            }
        }
        self.states[step] = state;
    }

    /// Looks at the files that verify is about to hash: what it finds is true of these.
    fn note_stamps(&mut self) {
        let files = self.inputs.expected(&self.job).into_keys();
        // A file that cannot be looked at is verify's own error.
        self.to_verify = files
            .filter_map(|path| {
                let stamp = Stamp::of(&path).ok()??;
                Some((path, stamp))
            })
            .collect();
    }

    fn note_digests(&mut self, step: usize, verify: &Done) {
        let Ok(effects) = self.graph.node(step).draft.effects(&verify.result) else { return };
        for file in effects.hashed {
            if let Some(stamp) = self.to_verify.remove(&file.path) {
                self.verified.insert(file.path, (stamp, file.sha256));
            }
        }
    }

    /// What the success of the step `id` left, if it has one.
    pub fn done(&self, id: &str) -> Option<&Done> {
        match &self.states[self.graph.find(id)?] {
            StepState::Fresh(done) | StepState::Done(done) => Some(done),
            _ => None,
        }
    }

    /// Takes back what [`Plan::judge_all`] assumed, so that a run can start.
    pub fn reset(&mut self) {
        self.states.fill(StepState::Undecided);
    }

    /// Whether `step` can be judged for good: all that it waits for has ended.
    pub fn is_ready(&self, step: usize) -> bool {
        matches!(self.states[step], StepState::Undecided)
            && self.graph.needs(step).iter().all(|(from, _)| self.states[*from].has_ended())
    }

    /// Why `step` cannot run, although all that it waits for has ended.
    pub fn why_skip(&self, step: usize) -> Option<String> {
        if self.is_left_out(step) {
            return Some("not asked for".to_owned());
        }
        let needs = self.graph.needs(step);
        let missing = needs.iter().find_map(|(from, edge)| {
            let id = &self.graph.node(*from).id;
            match (&self.states[*from], edge) {
                (_, Edge::ResultOrFailure) => None,
                (StepState::Failed(_), _) => Some(format!("{id} failed")),
                (StepState::Skipped(_), _) => Some(format!("{id} did not run")),
                _ => None,
            }
        });
        if missing.is_some() {
            return missing;
        }
        if self.graph.node(step).id == PUBLISH {
            return self.why_nothing_is_published();
        }
        let succeeded =
            |from: usize| matches!(self.states[from], StepState::Fresh(_) | StepState::Done(_));
        let mut reported = needs.iter().filter(|(_, edge)| *edge == Edge::ResultOrFailure);
        (reported.clone().next().is_some() && !reported.any(|(from, _)| succeeded(*from)))
            .then(|| "nothing that it reports on succeeded".to_owned())
    }
}
