//! Steps named on the command line.

use std::collections::BTreeSet;

use super::Plan;
use crate::words::hint;

/// Which steps run, by number.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Run even if they are fresh.
    pub(super) forced: BTreeSet<usize>,
    /// Run nothing else; with all that these wait for.
    pub(super) only: Option<BTreeSet<usize>>,
}

/// A name that no step has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no step is called `{name}`{hint}; the steps are {all}",
    hint = hint(.name, .steps.iter().map(String::as_str)),
    all = .steps.join(", ")
)]
pub struct UnknownStep {
    pub name: String,
    pub steps: Vec<String>,
}

impl Plan {
    /// The steps named by `force` and `only`: by id, or by the start of an id up to a colon
    /// (`bench` names every `bench:...`).
    ///
    /// # Errors
    /// If a name fits no step.
    pub fn find_steps(&self, force: &[String], only: &[String]) -> Result<Selection, UnknownStep> {
        let mut selection = Selection::default();
        for name in force {
            selection.forced.extend(self.steps_named(name)?);
        }
        if !only.is_empty() {
            let mut wanted = BTreeSet::new();
            let mut todo = Vec::new();
            for name in only {
                todo.extend(self.steps_named(name)?);
            }
            while let Some(step) = todo.pop() {
                if wanted.insert(step) {
                    todo.extend(self.graph.needs(step).into_iter().map(|(from, _)| from));
                }
            }
            selection.only = Some(wanted);
        }
        Ok(selection)
    }

    /// The steps that `name` names, as in [`Plan::find_steps`].
    ///
    /// # Errors
    /// If it fits none.
    pub fn steps_named(&self, name: &str) -> Result<Vec<usize>, UnknownStep> {
        let exact = self.graph.find(name).into_iter().collect::<Vec<_>>();
        if !exact.is_empty() {
            return Ok(exact);
        }
        let prefix = format!("{name}:");
        let group: Vec<usize> = (0..self.graph.len())
            .filter(|step| self.graph.node(*step).id.starts_with(&prefix))
            .collect();
        if !group.is_empty() {
            return Ok(group);
        }
        let steps: Vec<String> = self.graph.nodes().map(|node| node.id.clone()).collect();
        Err(UnknownStep { name: name.to_owned(), steps })
    }

    /// Whether the command line leaves `step` out.
    pub fn is_left_out(&self, step: usize) -> bool {
        self.selection.only.as_ref().is_some_and(|only| !only.contains(&step))
    }
}
