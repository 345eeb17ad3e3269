//! The forward pass of gpt-oss over a chunk of tokens.

use std::sync::Arc;

use crate::compute::{
    Activations, Attention, AttentionBuffers, Product, SharedSlice, ThreadPool, multiply, rms_norm,
};
use crate::gguf::TensorSource;
use crate::model::ModelError;
use crate::model::kv_cache::{KvCache, KvCacheType};
use crate::model::loader::Loader;

use super::moe::{Buffers, Experts, Routing};
use super::rope::{Rope, rotate_rows};
use super::weights::{Layer, Linear, Weights};
use crate::arch::{Architecture, Hyper};

/// Rows of a norm that are worth handing to a thread.
const NORM_ROWS: usize = 16;

/// A gpt-oss model whose tensors were found to be what its hyperparameters say.
pub struct Network {
    architecture: &'static Architecture,
    config: Hyper,
    loader: Loader,
    weights: Weights,
    rope: Rope,
    /// The sliding layers' angles, where they are others.
    sliding_rope: Option<Rope>,
    warnings: Vec<String>,
}

/// What a text in progress keeps: the KV cache, and buffers that each chunk uses anew.
pub struct State {
    exact: bool,
    cache: KvCache,
    /// The residual stream, a row per token.
    stream: Vec<f32>,
    normed: Activations,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// For each token a row of rotary angles.
    angles: Vec<f32>,
    /// The sliding layers', where they are others.
    sliding_angles: Vec<f32>,
    attention: AttentionBuffers,
    attended: Activations,
    projected: Vec<f32>,
    router: Vec<f32>,
    routing: Routing,
    experts: Buffers,
    /// `0, 1, 2, ...`: the activation rows of products with all of them.
    inputs: Vec<u32>,
}

impl State {
    /// The keys and values.
    pub fn cache(&mut self) -> &mut KvCache {
        &mut self.cache
    }
}

impl Network {
    /// Reads hyperparameters and checks every tensor.
    pub fn load(
        source: Arc<dyn TensorSource>,
        architecture: &'static Architecture,
    ) -> Result<Self, ModelError> {
        let config = architecture.from_metadata(source.metadata())?;
        if !config.head_dim.is_multiple_of(8) {
            return Err(ModelError::HeadDim { head_dim: config.head_dim });
        }
        let warnings = architecture.warnings(source.metadata());
        let loader = Loader::new(source);
        let weights = Weights::load(&loader, &config)?;
        loader.no_others(architecture, config.layers)?;
        let rope = Rope::new(&config, config.rope_theta);
        let sliding_rope =
            config.slides_otherwise().then(|| Rope::new(&config, config.rope_theta_sliding));
        Ok(Self { architecture, config, loader, weights, rope, sliding_rope, warnings })
    }

    /// What the file says and is not computed with, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    pub fn config(&self) -> &Hyper {
        &self.config
    }

    /// An empty text with room for `tokens` tokens, of which at most `chunk` are read at once.
    pub fn state(&self, tokens: usize, chunk: usize, exact: bool, kind: KvCacheType) -> State {
        State {
            exact,
            cache: self.config.cache(tokens, chunk, kind),
            stream: Vec::new(),
            normed: Activations::default(),
            queries: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            angles: Vec::new(),
            sliding_angles: Vec::new(),
            attention: AttentionBuffers::default(),
            attended: Activations::default(),
            projected: Vec::new(),
            router: Vec::new(),
            routing: Routing::default(),
            experts: Buffers::default(),
            inputs: Vec::new(),
        }
    }

    /// Reads `tokens`, the first of which stands at `position`, and writes the logits of as many
    /// of the last of them as `logits` has rows for. All tokens are in the vocabulary, and the
    /// cache has room for them. `go_on` is asked before each layer; false if it said no, and then the
    /// tokens are as if they had not been read.
    #[must_use]
    pub fn forward(
        &self,
        pool: &ThreadPool,
        state: &mut State,
        tokens: &[u32],
        position: usize,
        logits: &mut [f32],
        go_on: &dyn Fn() -> bool,
    ) -> bool {
        let Hyper { hidden, vocab, .. } = self.config;
        let embedding = self.loader.view(&self.weights.embedding);
        state.stream.resize(tokens.len() * hidden, 0.0);
        for (row, &token) in state.stream.chunks_exact_mut(hidden).zip(tokens) {
            embedding.row_f32(token as usize, row);
        }
        state.inputs.clear();
        state.inputs.extend(0..tokens.len() as u32);
        let positions = position..position + tokens.len();
        if let Some(rope) = &self.sliding_rope {
            rope.angles(positions.clone(), &mut state.sliding_angles);
        }
        self.rope.angles(positions, &mut state.angles);
        for (number, layer) in self.weights.layers.iter().enumerate() {
            if !go_on() {
                return false;
            }
            self.attention(pool, state, number, layer, position);
            self.experts(pool, state, layer);
        }
        let rows = logits.len() / vocab;
        if rows > 0 {
            let last = &state.stream[(tokens.len() - rows) * hidden..];
            self.norm(pool, last, &self.weights.output_norm, &mut state.normed);
            let (inputs, out) = (&state.inputs[..rows], SharedSlice::new(logits));
            let matrix = self.loader.view(&self.weights.output);
            let product = Product { matrix, bias: None, gate: None, inputs, out };
            multiply(pool, state.exact, &mut state.normed, &[product]);
        }
        true
    }

    fn attention(
        &self,
        pool: &ThreadPool,
        state: &mut State,
        number: usize,
        layer: &Layer,
        position: usize,
    ) {
        let Hyper { hidden, heads, kv_heads, head_dim, .. } = self.config;
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
        let angles = match &self.sliding_rope {
            Some(_) if self.config.sliding[number] => &state.sliding_angles,
            _ => &state.angles,
        };
        rotate_rows(pool, &mut state.queries, heads * head_dim, angles);
        rotate_rows(pool, &mut state.keys, kv_heads * head_dim, angles);
        state.cache.put(number, position, &state.keys, &state.values);
        let attention = Attention {
            cache: state.cache.layer(number),
            heads,
            kv_heads,
            head_dim,
            sinks: &layer.sinks,
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

    fn experts(&self, pool: &ThreadPool, state: &mut State, layer: &Layer) {
        let Hyper { hidden, experts, experts_used, .. } = self.config;
        self.norm(pool, &state.stream, &layer.expert_norm, &mut state.normed);
        let tokens = state.stream.len() / hidden;
        state.router.resize(tokens * experts, 0.0);
        let product = self.product(&layer.router, &state.inputs, &mut state.router);
        multiply(pool, state.exact, &mut state.normed, &[product]);
        state.routing.fill(&state.router, experts, experts_used);
        let all =
            Experts { config: &self.config, layer, loader: &self.loader, pool, exact: state.exact };
        all.run(&state.routing, &mut state.normed, &mut state.experts, &mut state.stream);
    }

    /// The root-mean-square norm of every row of `stream`.
    fn norm(&self, pool: &ThreadPool, stream: &[f32], weight: &[f32], out: &mut Activations) {
        let Hyper { hidden, rms_eps, .. } = self.config;
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
        let (bias, out) = (Some(linear.bias.as_slice()), SharedSlice::new(out));
        Product { matrix, bias, gate: None, inputs, out }
    }
}
