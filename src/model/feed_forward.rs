//! The feed-forward network, or a mixture of them: which experts a token goes to, and what they make of
//! it. A network without a router is the only expert.

use std::ops::Range;

use smallvec::SmallVec;

use crate::arch::{Decoder, Experts};
use crate::compute::{Activations, Gate, Product, SharedSlice, ThreadPool, multiply_while};

use super::loader::Loader;
use super::weights::{LayerWeights, Linear};

/// Elements worth handing to a thread.
const TASK_ELEMENTS: usize = 4096;

/// Which expert reads which tokens.
///
/// A *visit* is one token at one expert. Visits are in order of expert, then token, so that each
/// expert's are a run.
#[derive(Default)]
pub struct Routing {
    /// The token of each visit.
    tokens: Vec<u32>,
    /// Where each expert's visits begin, and the end.
    starts: Vec<usize>,
    /// Where each expert's next visit goes while they are dealt out.
    next: Vec<usize>,
    /// The experts of one token, the best first.
    order: Vec<u32>,
    /// For each token: its visits and their weights, the best expert first.
    chosen: Vec<(u32, f32)>,
}

impl Routing {
    /// Sends each token to the experts with its largest logits, weighted by the softmax over those. Of equal logits the lower expert's comes first; `torch.topk` and llama.cpp's
    /// sort leave that open.
    pub fn send_to_the_best(&mut self, logits: &[f32], Experts { count: experts, used }: Experts) {
        let Self { tokens, starts, next, order, chosen: picks } = self;
        picks.clear();
        for row in logits.chunks_exact(experts) {
            order.clear();
            order.extend(0..experts as u32);
            // Unstable: it takes no memory, and the experts' numbers leave no ties.
            order.sort_unstable_by(|&a, &b| {
                row[b as usize].total_cmp(&row[a as usize]).then(a.cmp(&b))
            });
            let best = row[order[0] as usize];
            let weight = |e: u32| (row[e as usize] - best).exp();
            let sum: f32 = order[..used].iter().map(|&e| weight(e)).sum();
            picks.extend(order[..used].iter().map(|&e| (e, weight(e) / sum)));
        }
        starts.clear();
        starts.resize(experts + 1, 0);
        for &(expert, _) in &*picks {
            starts[expert as usize + 1] += 1;
        }
        for e in 0..experts {
            starts[e + 1] += starts[e];
        }
        next.clone_from(starts);
        tokens.clear();
        tokens.resize(picks.len(), 0);
        for (i, pick) in picks.iter_mut().enumerate() {
            let visit = &mut next[pick.0 as usize];
            tokens[*visit] = (i / used) as u32;
            pick.0 = *visit as u32;
            *visit += 1;
        }
    }

    /// Sends all tokens to the one network there is.
    pub fn send_to_the_only_one(&mut self, tokens: usize) {
        self.tokens.clear();
        self.tokens.extend(0..tokens as u32);
        self.starts.clear();
        self.starts.extend([0, tokens]);
        self.chosen.clear();
        self.chosen.extend((0..tokens as u32).map(|visit| (visit, 1.0)));
    }

    /// Experts, or one network.
    fn experts(&self) -> usize {
        self.starts.len() - 1
    }

    /// Visits in all.
    fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The visits of one expert.
    fn visits(&self, expert: usize) -> Range<usize> {
        self.starts[expert]..self.starts[expert + 1]
    }
}

/// Buffers of the experts, by visit.
#[derive(Default)]
pub struct Buffers {
    /// Gated.
    inner: Activations,
    down: Vec<f32>,
    /// `0, 1, 2, ...`: the activation rows of the down projection.
    visits: Vec<u32>,
}

/// Products of the experts with visits; those of one token's gates and ups take no allocation.
type Products<'a> = SmallVec<[Product<'a>; 8]>;

/// What a layer's experts compute with.
pub struct FeedForward<'a> {
    pub decoder: &'a Decoder,
    pub layer: &'a LayerWeights,
    pub loader: &'a Loader,
    pub pool: &'a ThreadPool,
    pub exact: bool,
    /// Asked before each block of a matrix.
    pub go_on: &'a (dyn Fn() -> bool + Sync),
}

impl FeedForward<'_> {
    /// Adds to each token's row of `residual` the weighted outputs of its experts; false if it was told to
    /// stop, and then to none.
    #[must_use]
    pub fn run(
        &self,
        routing: &Routing,
        input: &mut Activations,
        buffers: &mut Buffers,
        residual: &mut [f32],
    ) -> bool {
        let Decoder { hidden, width, activation, experts, .. } = *self.decoder;
        let used = experts.map_or(1, |experts| experts.used);
        let Buffers { inner, down, visits } = buffers;
        down.resize(routing.len() * hidden, 0.0);
        visits.clear();
        visits.extend(0..routing.len() as u32);

        let (gate, up) = (&self.layer.gate, &self.layer.up);
        let gates = self.loader.view(&gate.weight);
        let out = inner.reset(routing.len(), width);
        let products = self.products(up, routing, &routing.tokens, width, out, |rows| {
            let matrix = gates.slice(rows.clone());
            let bias = gate.bias.as_ref().map(|bias| &bias[rows]);
            Some(Gate { matrix, bias, activation })
        });
        let whole = multiply_while(self.pool, self.exact, input, &products, self.go_on);
        drop(products);
        if !whole {
            return false;
        }

        let products = self.products(&self.layer.down, routing, visits, hidden, down, |_| None);
        let whole = multiply_while(self.pool, self.exact, inner, &products, self.go_on);
        drop(products);
        if !whole {
            return false;
        }

        let rows = TASK_ELEMENTS / (hidden * used) + 1;
        self.pool.for_rows(residual, hidden, rows, |token, row| {
            for &(visit, weight) in &routing.chosen[token * used..][..used] {
                let expert = &down[visit as usize * hidden..][..hidden];
                for (r, &e) in row.iter_mut().zip(expert) {
                    *r += weight * e;
                }
            }
        });
        true
    }

    /// One product per expert that has visits, each with its run of `out` and the gate of its rows.
    fn products<'b>(
        &'b self,
        linear: &'b Linear,
        routing: &Routing,
        inputs: &'b [u32],
        rows: usize,
        mut out: &'b mut [f32],
        gate: impl Fn(Range<usize>) -> Option<Gate<'b>>,
    ) -> Products<'b> {
        let matrix = self.loader.view(&linear.weight);
        let mut products = Products::new();
        for expert in 0..routing.experts() {
            let visits = routing.visits(expert);
            let part = out.split_off_mut(..visits.len() * rows).unwrap_or_default();
            if !visits.is_empty() {
                let range = expert * rows..(expert + 1) * rows;
                products.push(Product {
                    matrix: matrix.slice(range.clone()),
                    gate: gate(range.clone()),
                    bias: linear.bias.as_ref().map(|bias| &bias[range]),
                    inputs: &inputs[visits],
                    out: SharedSlice::new(part),
                });
            }
        }
        products
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_to_their_best_experts() {
        let logits = [
            0.0, 3.0, 1.0, 2.0, // experts 1 and 3
            1.0, 1.0, 0.0, 1.0, // a tie: 0 and 1
        ];
        let mut routing = Routing::default();
        routing.send_to_the_best(&logits, Experts { count: 4, used: 2 });
        assert_eq!(routing.starts, [0, 1, 3, 3, 4]);
        assert_eq!(routing.tokens, [1, 0, 1, 0]);
        let visits: Vec<u32> = routing.chosen.iter().map(|c| c.0).collect();
        assert_eq!(visits, [1, 3, 0, 2]);
        let softmax = 1.0 / (1.0 + (-1f32).exp());
        assert!((routing.chosen[0].1 - softmax).abs() < 1e-7);
        assert_eq!(routing.chosen[2].1, 0.5);

        routing.send_to_the_only_one(3);
        assert_eq!((routing.experts(), routing.visits(0)), (1, 0..3));
        assert_eq!(routing.tokens, [0, 1, 2]);
        assert_eq!(routing.chosen, [(0, 1.0), (1, 1.0), (2, 1.0)]);
    }
}
