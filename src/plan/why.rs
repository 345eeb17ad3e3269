//! What a step's key is made of, now and at its last success.

use serde::Serialize;

use super::key::{self, Compared};
use super::layout::VERIFY;
use super::{Judgement, Plan, Verdict};
use crate::steps::StepError;

/// What a step's key is made of.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    pub step: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The key; `None` as long as something that goes into it is not known.
    pub key: Option<String>,
    /// The key of the last success; `None` if there is none.
    pub last_key: Option<String>,
    /// When the last success began, in ms since 1970.
    pub last_started_ms: Option<i64>,
    /// By name.
    pub ingredients: Vec<Compared>,
}

impl Plan {
    /// What the key of `step` is made of, which was judged so.
    ///
    /// # Errors
    /// If the state or an input cannot be read.
    pub fn why(&self, step: usize, judgement: &Judgement) -> Result<Why, StepError> {
        let node = self.graph.node(step);
        let last = match &self.state {
            Some(state) => state.last_action(self.owner(), &node.id)?,
            None => None,
        };
        let then = last.as_ref().map_or(&[][..], |last| &last.ingredients);
        // What verify finds is known file by file, and is in the keys of those that read them.
        let now = if node.id == VERIFY { Vec::new() } else { self.ingredients(step)? };
        let now: Vec<_> = now.into_iter().map(|i| (i.name, i.value)).collect();
        let mut all = key::compare(then, &now);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Why {
            step: node.id.clone(),
            verdict: judgement.verdict.clone(),
            key: judgement.ingredients.as_ref().map(|all| key::key(all)),
            last_key: last.as_ref().map(|last| last.key.clone()),
            last_started_ms: last.as_ref().map(|last| last.started_ms),
            ingredients: all,
        })
    }
}
