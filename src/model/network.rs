//! The forward pass over a chunk of tokens: one decoder, of which parts may be absent.

use std::sync::Arc;

use crate::arch::{Architecture, Decoder};
use crate::compute::{
    Activations, Attention, AttentionBuffers, Product, SharedSlice, ThreadPool, multiply,
    multiply_while, rms_norm, rms_norm_in_place,
};
use crate::gguf::TensorSource;

use super::ModelError;
use super::feed_forward::{Buffers, FeedForward, Routing};
use super::kv_cache::{KvCache, KvCacheType};
use super::loader::Loader;
use super::rope::{Angles, rotate_rows};
use super::weights::{LayerWeights, Linear, Weights};

/// Rows of a norm that are worth handing to a thread.
const NORM_ROWS: usize = 16;

/// A model whose tensors were found to be what its hyperparameters say.
pub struct Network {
    decoder: Decoder,
    loader: Loader,
    weights: Weights,
    /// For each of the decoder's rotary positions.
    angles: Vec<Angles>,
}

/// What a text in progress keeps: the KV cache, and buffers that each chunk uses anew.
pub struct State {
    exact: bool,
    pub cache: KvCache,
    /// The residual stream, a row per token.
    stream: Vec<f32>,
    normed: Activations,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// For each of the rotary positions a row of angles per token.
    angles: Vec<Vec<f32>>,
    attention: AttentionBuffers,
    attended: Activations,
    projected: Vec<f32>,
    router: Vec<f32>,
    routing: Routing,
    feed_forward: Buffers,
    /// `0, 1, 2, ...`: the activation rows of products with all of them.
    inputs: Vec<u32>,
}

impl Network {
    /// Reads hyperparameters and checks every tensor.
    pub fn load(
        source: Arc<dyn TensorSource>,
        architecture: &'static Architecture,
    ) -> Result<Self, ModelError> {
        let hyper = architecture.from_metadata(source.metadata())?;
        if !hyper.head_dim.is_multiple_of(8) {
            return Err(ModelError::HeadDim { head_dim: hyper.head_dim });
        }
        let loader = Loader::new(source);
        let weights = Weights::load(&loader, architecture, &hyper)?;
        loader.no_others(architecture, hyper.layers)?;
        let decoder = (architecture.decoder)(&hyper);
        let angles = decoder.ropes.iter().map(|rope| Angles::new(rope, decoder.head_dim)).collect();
        Ok(Self { decoder, loader, weights, angles })
    }

    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// An empty text with room for `tokens` tokens, of which at most `chunk` are read at once.
    pub fn state(&self, tokens: usize, chunk: usize, exact: bool, kind: KvCacheType) -> State {
        State {
            exact,
            cache: self.decoder.cache(tokens, chunk, kind),
            stream: Vec::new(),
            normed: Activations::default(),
            queries: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            angles: vec![Vec::new(); self.angles.len()],
            attention: AttentionBuffers::default(),
            attended: Activations::default(),
            projected: Vec::new(),
            router: Vec::new(),
            routing: Routing::default(),
            feed_forward: Buffers::default(),
            inputs: Vec::new(),
        }
    }

    /// Reads `tokens`, the first of which stands at `position`, and writes the logits of as many
    /// of the last of them as `logits` has rows for. All tokens are in the vocabulary, and the
    /// cache has room for them. `go_on` is asked between attention and experts, and before each block
    /// of the large matrices; false if it said no, and then the tokens are as if they had not been read.
    #[must_use]
    pub fn forward(
        &self,
        pool: &ThreadPool,
        state: &mut State,
        tokens: &[u32],
        position: usize,
        logits: &mut [f32],
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> bool {
        let Decoder { hidden, vocab, .. } = self.decoder;
        let embedding = self.loader.view(&self.weights.embedding);
        state.stream.resize(tokens.len() * hidden, 0.0);
        for (row, &token) in state.stream.chunks_exact_mut(hidden).zip(tokens) {
            embedding.row_f32(token as usize, row);
        }
        state.inputs.clear();
        state.inputs.extend(0..tokens.len() as u32);
        for (angles, out) in self.angles.iter().zip(&mut state.angles) {
            angles.at(position..position + tokens.len(), out);
        }
        for (number, layer) in self.weights.layers.iter().enumerate() {
            if !go_on() {
                return false;
            }
            self.attention(pool, state, number, layer, position);
            if !go_on() || !self.feed_forward(pool, state, layer, go_on) {
                return false;
            }
        }
        let rows = logits.len() / vocab;
        if rows > 0 {
            let last = &state.stream[(tokens.len() - rows) * hidden..];
            self.norm(pool, last, &self.weights.output_norm, &mut state.normed);
            let (inputs, out) = (&state.inputs[..rows], SharedSlice::new(logits));
            let output = self.weights.output.as_ref().unwrap_or(&self.weights.embedding);
            let matrix = self.loader.view(output);
            let product = Product { matrix, bias: None, gate: None, inputs, out };
            return multiply_while(pool, state.exact, &mut state.normed, &[product], go_on);
        }
        true
    }

    fn attention(
        &self,
        pool: &ThreadPool,
        state: &mut State,
        number: usize,
        layer: &LayerWeights,
        position: usize,
    ) {
        let Decoder { hidden, heads, kv_heads, head_dim, .. } = self.decoder;
        let tokens = state.stream.len() / hidden;
        self.norm(pool, &state.stream, &layer.attention_norm, &mut state.normed);
        state.queries.resize(tokens * heads * head_dim, 0.0);
        state.keys.resize(tokens * kv_heads * head_dim, 0.0);
        state.values.resize(tokens * kv_heads * head_dim, 0.0);
        multiply(
            pool,
            state.exact,
            &mut state.normed,
            &[
                self.product(&layer.query, &state.inputs, &mut state.queries),
                self.product(&layer.key, &state.inputs, &mut state.keys),
                self.product(&layer.value, &state.inputs, &mut state.values),
            ],
        );
        let rope = self.decoder.layers[number].rope;
        for (rows, heads, norm) in [
            (&mut state.queries, heads, &layer.query_norm),
            (&mut state.keys, kv_heads, &layer.key_norm),
        ] {
            if let Some(weight) = norm {
                let eps = self.decoder.rms_eps;
                pool.for_rows(rows, head_dim, NORM_ROWS, |_, head| {
                    rms_norm_in_place(head, weight, eps);
                });
            }
            let (angles, pairing) = (&state.angles[rope], self.decoder.ropes[rope].pairing);
            rotate_rows(pool, rows, heads * head_dim, angles, pairing);
        }
        state.cache.put(number, position, &state.keys, &state.values);
        let attention = Attention {
            cache: state.cache.layer(number),
            heads,
            kv_heads,
            head_dim,
            scale: self.decoder.attention_scale,
            sinks: layer.sinks.as_deref(),
            first: position,
            window: state.cache.window(number),
        };
        let out = state.attended.reset(tokens, heads * head_dim);
        attention.run(pool, &mut state.attention, &state.queries, out);
        state.projected.resize(tokens * hidden, 0.0);
        let product = self.product(&layer.attention_output, &state.inputs, &mut state.projected);
        multiply(pool, state.exact, &mut state.attended, &[product]);
        for (s, p) in state.stream.iter_mut().zip(&state.projected) {
            *s += p;
        }
    }

    #[must_use]
    fn feed_forward(
        &self,
        pool: &ThreadPool,
        state: &mut State,
        layer: &LayerWeights,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> bool {
        self.norm(pool, &state.stream, &layer.feed_forward_norm, &mut state.normed);
        let tokens = state.stream.len() / self.decoder.hidden;
        match (&layer.router, self.decoder.experts) {
            (Some(router), Some(experts)) => {
                state.router.resize(tokens * experts.count, 0.0);
                let product = self.product(router, &state.inputs, &mut state.router);
                multiply(pool, state.exact, &mut state.normed, &[product]);
                state.routing.send_to_the_best(&state.router, experts);
            }
            _ => state.routing.send_to_the_only_one(tokens),
        }
        let all = FeedForward {
            decoder: &self.decoder,
            layer,
            loader: &self.loader,
            pool,
            exact: state.exact,
            go_on,
        };
        all.run(&state.routing, &mut state.normed, &mut state.feed_forward, &mut state.stream)
    }

    /// The root-mean-square norm of every row of `stream`.
    fn norm(&self, pool: &ThreadPool, stream: &[f32], weight: &[f32], out: &mut Activations) {
        let Decoder { hidden, rms_eps, .. } = self.decoder;
        let rows = stream.len() / hidden;
        pool.for_rows(out.reset(rows, hidden), hidden, NORM_ROWS, |row, out| {
            rms_norm(&stream[row * hidden..][..hidden], weight, rms_eps, out);
        });
    }

    /// A matrix with its bias, for the activation rows `inputs`.
    fn product<'a>(
        &'a self,
        linear: &'a Linear,
        inputs: &'a [u32],
        out: &'a mut [f32],
    ) -> Product<'a> {
        let matrix = self.loader.view(&linear.weight);
        let (bias, out) = (linear.bias.as_deref(), SharedSlice::new(out));
        Product { matrix, bias, gate: None, inputs, out }
    }
}
