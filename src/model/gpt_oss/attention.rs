//! Grouped-query attention of a chunk of tokens over the KV cache.

use std::ops::Range;

use crate::compute::{HeadState, SharedSlice, ThreadPool, attend};
use crate::model::kv_cache::{LayerCache, Scratch};

use super::Config;

/// Keys taken at a time. Tiles begin at multiples of it, wherever a chunk of tokens begins, so
/// that the order of sums does not depend on the chunk.
const TILE: usize = 256;
/// Tokens of a task: they share the widening of keys and values to f32.
const TOKENS: usize = 16;

/// The chunk's place and what its layer sees.
pub struct Attention<'a> {
    pub config: &'a Config,
    pub cache: &'a LayerCache,
    /// One per query head.
    pub sinks: &'a [f32],
    /// Position of the chunk's first token.
    pub first: usize,
    /// How many keys a token sees, itself included; `None` for all.
    pub window: Option<usize>,
}

impl Attention<'_> {
    /// `queries` and `out` have a row of all query heads per token.
    pub fn run(&self, pool: &ThreadPool, queries: &[f32], out: &mut [f32]) {
        let row = self.config.heads * self.config.head_dim;
        let tokens = queries.len() / row;
        let blocks = tokens.div_ceil(TOKENS);
        let out = SharedSlice::new(out);
        pool.for_blocks(blocks * self.config.kv_heads, 1, |tasks| {
            for task in tasks {
                let start = task % blocks * TOKENS;
                let block = start..tokens.min(start + TOKENS);
                self.block(task / blocks, block, queries, &out);
            }
        });
    }

    /// The query heads that share one key/value head, for some of the tokens.
    fn block(
        &self,
        kv_head: usize,
        tokens: Range<usize>,
        queries: &[f32],
        out: &SharedSlice<'_, f32>,
    ) {
        let Config { heads, kv_heads, head_dim: dim, .. } = *self.config;
        let group = heads / kv_heads;
        let first_head = kv_head * group;
        let scale = (dim as f64).sqrt().recip() as f32;
        let sinks = &self.sinks[first_head..first_head + group];
        let mut states: Vec<HeadState> =
            tokens.clone().flat_map(|_| sinks.iter().map(|&s| HeadState::with_sink(s))).collect();
        let mut sums = vec![0.0; states.len() * dim];
        let mut scores = [0.0; TILE];
        let (mut key_scratch, mut value_scratch) = (Scratch::default(), Scratch::default());

        let (begin, end) = (self.visible(tokens.start).start, self.visible(tokens.end - 1).end);
        let mut tile = begin..end.min((begin / TILE + 1) * TILE);
        while !tile.is_empty() {
            let keys = self.cache.keys(kv_head, tile.clone(), &mut key_scratch);
            let values = self.cache.values(kv_head, tile.clone(), &mut value_scratch);
            let rows = states.iter_mut().zip(sums.chunks_exact_mut(dim)).enumerate();
            for (i, (state, sum)) in rows {
                let token = tokens.start + i / group;
                let seen = self.visible(token);
                let (from, to) = (seen.start.max(tile.start), seen.end.min(tile.end));
                if from < to {
                    let at = (from - tile.start) * dim..(to - tile.start) * dim;
                    let query = &queries[(token * heads + first_head + i % group) * dim..];
                    let query = &query[..dim];
                    attend(query, &keys[at.clone()], &values[at], scale, state, sum, &mut scores);
                }
            }
            tile = tile.end..end.min(tile.end + TILE);
        }
        for (i, (state, sum)) in states.iter().zip(sums.chunks_exact_mut(dim)).enumerate() {
            state.finish(sum);
            let (token, head) = (tokens.start + i / group, first_head + i % group);
            // SAFETY: the task is the only one with this key/value head and this token.
            unsafe { out.slice_mut((token * heads + head) * dim, dim) }.copy_from_slice(sum);
        }
    }

    /// Positions that the chunk's token number `token` sees.
    fn visible(&self, token: usize) -> Range<usize> {
        let end = self.first + token + 1;
        self.window.map_or(0, |w| end.saturating_sub(w))..end
    }
}
