//! The steps of a job and what leads from one to another.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::Machine;
use super::ingredients::{self, Input};
use super::input_files::Inputs;
use crate::manifest::{Job, ReferenceOrigin};
use crate::steps::StepKind;

/// A file that the job makes or is given: a format, or a reference; by its place in the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Format(usize),
    Reference(usize),
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Verify,
    Convert,
    Quantize(Target),
    LoadCheck(usize),
    Bench(Target),
    Evaluate(usize),
    Compare { format: usize, reference: usize },
    Report,
    Publish,
}

impl Task {
    /// The kind of step that does it.
    pub fn kind(self) -> StepKind {
        match self {
            Task::Verify => StepKind::Verify,
            Task::Convert => StepKind::Convert,
            Task::Quantize(_) => StepKind::Quantize,
            Task::LoadCheck(_) => StepKind::LoadCheck,
            Task::Bench(_) => StepKind::Bench,
            Task::Evaluate(_) => StepKind::Evaluate,
            Task::Compare { .. } => StepKind::Compare,
            Task::Report => StepKind::Report,
            Task::Publish => StepKind::Publish,
        }
    }

    /// Whether its output is a model file.
    pub fn writes_model(self) -> bool {
        matches!(self, Task::Convert | Task::Quantize(_))
    }

    /// The candidate that it is about.
    pub fn format(self) -> Option<usize> {
        match self {
            Task::Quantize(Target::Format(format))
            | Task::LoadCheck(format)
            | Task::Bench(Target::Format(format))
            | Task::Evaluate(format)
            | Task::Compare { format, .. } => Some(format),
            _ => None,
        }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub struct Node {
    /// `kind`, `kind:format`, `kind:ref:reference` or `kind:format:reference`.
    pub id: String,
    pub task: Task,
}

/// Why a step waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Reads the file that the other writes.
    File,
    /// Uses the other's result, or the news that it failed.
    ResultOrFailure,
    /// Only runs after the other.
    After,
}

/// The steps, in an order in which each stands after all that it waits for.
#[derive(Debug)]
pub struct Graph {
    inner: DiGraph<Node, Edge>,
}

impl Graph {
    /// Lays out the steps of `job`; references that are missing have none.
    pub(super) fn build(job: &Job, inputs: &Inputs, machine: &Machine) -> Self {
        let mut graph = Self { inner: DiGraph::new() };
        for task in tasks(job, inputs) {
            graph.inner.add_node(Node { id: id(job, task), task });
        }
        for step in 0..graph.len() {
            let task = graph.node(step).task;
            for input in ingredients::inputs(job, inputs, machine, task) {
                for (on, edge) in graph.edges_of(&input) {
                    let Some(from) = graph.find(on) else { continue };
                    let (from, to) = (NodeIndex::new(from), NodeIndex::new(step));
                    if !graph.inner.contains_edge(from, to) {
                        graph.inner.add_edge(from, to, edge);
                    }
                }
            }
        }
        graph
    }

    /// What a step waits for that has `input`.
    fn edges_of(&self, input: &Input) -> Vec<(Task, Edge)> {
        match input {
            Input::Parameter { .. } => Vec::new(),
            Input::File { .. } | Input::Named { .. } => vec![(Task::Verify, Edge::After)],
            Input::Output(task) => vec![(*task, Edge::File)],
            Input::ResultOrFailure(task) => vec![(*task, Edge::ResultOrFailure)],
            Input::After(task) => vec![(*task, Edge::After)],
            Input::Published(format) => {
                let tasks = self.nodes().map(|node| node.task);
                let its = tasks.filter(|task| task.format() == Some(*format));
                its.map(|task| (task, Edge::ResultOrFailure)).collect()
            }
        }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.inner.node_count()
    }

    /// Whether there is no step; a job always has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The steps in order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.inner.node_weights().collect::<Vec<_>>().into_iter()
    }

    /// One step.
    pub fn node(&self, step: usize) -> &Node {
        &self.inner[NodeIndex::new(step)]
    }

    /// The number of the step for `task`.
    pub fn find(&self, task: Task) -> Option<usize> {
        self.inner.node_weights().position(|node| node.task == task)
    }

    /// The number of the step with this id.
    pub fn find_id(&self, id: &str) -> Option<usize> {
        self.inner.node_weights().position(|node| node.id == id)
    }

    /// The steps that `step` waits for, in order.
    pub fn needs(&self, step: usize) -> Vec<(usize, Edge)> {
        let mut needs: Vec<_> = self
            .inner
            .edges_directed(NodeIndex::new(step), Direction::Incoming)
            .map(|edge| (edge.source().index(), *edge.weight()))
            .collect();
        needs.sort_by_key(|(from, _)| *from);
        needs
    }

    /// Every edge as (from, to, why), in order.
    pub fn edges(&self) -> Vec<(usize, usize, Edge)> {
        (0..self.len())
            .flat_map(|to| self.needs(to).into_iter().map(move |(from, edge)| (from, to, edge)))
            .collect()
    }
}

/// The tasks of `job`, each after all that it waits for.
fn tasks(job: &Job, inputs: &Inputs) -> Vec<Task> {
    let formats = 0..job.formats.len();
    let references: Vec<usize> = (0..job.references.len())
        .filter(|r| !inputs.missing_references.iter().any(|m| m.name == job.references[*r].name))
        .collect();
    let mut tasks = vec![Task::Verify];
    tasks.extend(job.convert.gguf.as_ref().map(|_| Task::Convert));
    for &reference in &references {
        if matches!(job.references[reference].origin, ReferenceOrigin::Made(_)) {
            tasks.push(Task::Quantize(Target::Reference(reference)));
        }
    }
    for format in formats.clone() {
        tasks.extend([Task::Quantize(Target::Format(format)), Task::LoadCheck(format)]);
    }
    tasks.extend(references.iter().map(|r| Task::Bench(Target::Reference(*r))));
    tasks.extend(formats.clone().map(|format| Task::Bench(Target::Format(format))));
    if job.evaluate.is_some() {
        tasks.extend(formats.clone().map(Task::Evaluate));
    }
    for format in formats {
        tasks.extend(references.iter().map(|&reference| Task::Compare { format, reference }));
    }
    tasks.push(Task::Report);
    tasks.extend(job.publish.as_ref().map(|_| Task::Publish));
    tasks
}

fn id(job: &Job, task: Task) -> String {
    let kind = task.kind().name();
    let format = |format: usize| &job.formats[format].spec.name;
    let reference = |reference: usize| &job.references[reference].name;
    match task {
        Task::Verify | Task::Convert | Task::Report | Task::Publish => kind.to_owned(),
        Task::Quantize(Target::Format(f))
        | Task::Bench(Target::Format(f))
        | Task::LoadCheck(f)
        | Task::Evaluate(f) => format!("{kind}:{}", format(f)),
        Task::Quantize(Target::Reference(r)) | Task::Bench(Target::Reference(r)) => {
            format!("{kind}:ref:{}", reference(r))
        }
        Task::Compare { format: f, reference: r } => {
            format!("{kind}:{}:{}", format(f), reference(r))
        }
    }
}
