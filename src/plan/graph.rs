//! The steps of a job and what leads from one to another.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::Machine;
use super::ingredients::{self, Input};
use super::input_files::InputFiles;
use super::layout::{Node, VERIFY, layout};
use crate::manifest::Job;

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
    pub(super) fn build(job: &Job, inputs: &InputFiles, machine: &Machine) -> Self {
        let mut graph = Self { inner: DiGraph::new() };
        for node in layout(job, inputs) {
            graph.inner.add_node(node);
        }
        for step in 0..graph.len() {
            for input in ingredients::inputs(graph.node(step), &job.workspace, inputs, machine) {
                for (on, edge) in graph.edges_of(input) {
                    let Some(from) = graph.find(&on) else { continue };
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
    fn edges_of(&self, input: Input) -> Vec<(String, Edge)> {
        match input {
            Input::Parameter { .. } => Vec::new(),
            Input::File { .. } | Input::Named { .. } => vec![(VERIFY.to_owned(), Edge::After)],
            Input::Output { step, .. } => vec![(step, Edge::File)],
            Input::Ended { step, .. } => vec![(step, Edge::ResultOrFailure)],
            Input::After(step) => vec![(step, Edge::After)],
            Input::Release { format, .. } => {
                let its = self.nodes().filter(|node| node.format == Some(format));
                its.map(|node| (node.id.clone(), Edge::ResultOrFailure)).collect()
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

    /// The number of the step with this id.
    pub fn find(&self, id: &str) -> Option<usize> {
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
}
