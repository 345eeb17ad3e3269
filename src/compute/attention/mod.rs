//! Grouped-query attention of a chunk of tokens over keys and values that are read tile by tile,
//! with a running softmax: no row of scores is ever whole.
//!
//! A query's keys are cut into *parts* and these into *tiles*, both at fixed positions. A part has
//! a softmax of its own, tile after tile; parts are merged in order, the sink first. So the numbers
//! depend neither on the chunk that a token came in nor on the threads, and yet one token's parts
//! can be shared out among threads.

mod buffers;
mod tile;

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{SharedSlice, ThreadPool};
use crate::simd::run_best;
use buffers::{Partial, Scratch, TileBuffers, for_tasks};
use tile::{Attend, Heads, Keys, Softmax};

pub use buffers::{AttentionBuffers, attention_bytes};

/// Keys that are stored element by element, see [`KeysAndValues`].
pub const PANEL: usize = 8;
/// Keys read at a time, so that they and their values stay in the first-level cache: a multiple of
/// [`PANEL`].
pub const TILE: usize = 64;
/// Keys with a softmax of their own: a multiple of [`TILE`]. Few enough for one token's to be
/// shared out, enough for merging not to be felt.
const PART: usize = 512;
/// Tokens at most that share the reading of a tile.
const TOKENS: usize = 16;
/// Tasks per thread to aim at, so that threads finish together.
const TASKS: usize = 4;

/// Where keys and values come from.
pub trait KeysAndValues: Sync {
    /// Reads keys and values of one head at the positions of some panels, which are all of one
    /// tile: panel `p` holds positions `p * PANEL..(p + 1) * PANEL`.
    ///
    /// `keys` gets panel after panel, and of each the first element of all its keys, then the
    /// second, and so on; `values` gets the values in order. At positions without a token the
    /// numbers do not matter.
    fn read(&self, head: usize, panels: Range<usize>, keys: &mut [f32], values: &mut [f32]);
}

/// Attention of a layer.
pub struct Attention<'a, C> {
    pub cache: &'a C,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves as many consecutive query heads.
    pub kv_heads: usize,
    /// Elements of a head, a multiple of eight.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Scores without a value that take part in the softmax, one per query head.
    pub sinks: Option<&'a [f32]>,
    /// Position of the chunk's first token.
    pub first: usize,
    /// How many keys a token sees, itself included; `None` for all.
    pub window: Option<usize>,
}

impl<C: KeysAndValues> Attention<'_, C> {
    /// `queries` and `out` have a row of all query heads per token. The cache has the keys and
    /// values of all tokens up to the chunk's last.
    pub fn run(
        &self,
        pool: &ThreadPool,
        buffers: &mut AttentionBuffers,
        queries: &[f32],
        out: &mut [f32],
    ) {
        let tokens = queries.len() / (self.heads * self.head_dim);
        if tokens == 0 {
            return;
        }
        let parts = parts(&self.visible(0));
        if tokens == 1 && parts.len() > 1 {
            self.one_token(pool, buffers, parts, queries, out);
        } else {
            self.many_tokens(pool, buffers, tokens, queries, out);
        }
    }

    /// A task is some tokens in a row and a key head.
    fn many_tokens(
        &self,
        pool: &ThreadPool,
        buffers: &mut AttentionBuffers,
        tokens: usize,
        queries: &[f32],
        out: &mut [f32],
    ) {
        let share = (tokens * self.kv_heads / (pool.threads() * TASKS)).clamp(1, TOKENS);
        let shares = tokens.div_ceil(share);
        let out = SharedSlice::new(out);
        for_tasks(pool, &mut buffers.threads, shares * self.kv_heads, |task, scratch| {
            // The last tokens first, as they see most.
            let start = (shares - 1 - task / self.kv_heads) * share;
            let tokens = start..tokens.min(start + share);
            self.tokens(task % self.kv_heads, tokens, queries, &out, scratch);
        });
    }

    /// A task is a part of the keys and a key head.
    fn one_token(
        &self,
        pool: &ThreadPool,
        buffers: &mut AttentionBuffers,
        parts: Range<usize>,
        queries: &[f32],
        out: &mut [f32],
    ) {
        let (group, width) = (self.group(), self.width());
        let AttentionBuffers { threads, parts: partial, states: totals } = buffers;
        let tasks = parts.len() * self.kv_heads;
        partial.states.resize(tasks * group, Softmax::EMPTY);
        partial.sums.resize(tasks * width, 0.0);
        let states = SharedSlice::new(&mut partial.states);
        let sums = SharedSlice::new(&mut partial.sums);
        for_tasks(pool, threads, tasks, |task, scratch| {
            let (kv_head, part) = (task / parts.len(), parts.start + task % parts.len());
            // SAFETY: each task has states and sums of its own.
            let (states, sums) = unsafe {
                (states.slice_mut(task * group, group), sums.slice_mut(task * width, width))
            };
            self.part(kv_head, 0..1, part, queries, &mut scratch.tile, states, sums);
        });

        totals.resize(group, Softmax::EMPTY);
        for (kv_head, out) in out.chunks_exact_mut(width).enumerate() {
            self.begin(kv_head, totals, out);
            for part in kv_head * parts.len()..(kv_head + 1) * parts.len() {
                let others = &partial.states[part * group..][..group];
                tile::merge(totals, out, others, &partial.sums[part * width..][..width]);
            }
            tile::finish(totals, out);
        }
    }

    /// The query heads that share one key head, for some of the tokens.
    fn tokens(
        &self,
        kv_head: usize,
        tokens: Range<usize>,
        queries: &[f32],
        out: &SharedSlice<'_, f32>,
        scratch: &mut Scratch,
    ) {
        let (group, width) = (self.group(), self.width());
        let Scratch { tile, partial, states } = scratch;
        let out = |token: usize| {
            let at = (token * self.kv_heads + kv_head) * width;
            // SAFETY: the task is the only one with this key head and this token, and drops each
            // of these slices before it asks for the next.
            unsafe { out.slice_mut(at, width) }
        };
        states.resize(tokens.len() * group, Softmax::EMPTY);
        partial.states.resize(tokens.len() * group, Softmax::EMPTY);
        partial.sums.resize(tokens.len() * width, 0.0);
        for (token, states) in tokens.clone().zip(states.chunks_exact_mut(group)) {
            self.begin(kv_head, states, out(token));
        }
        let seen = self.visible(tokens.start).start..self.visible(tokens.end - 1).end;
        for part in parts(&seen) {
            let Partial { states: part_states, sums } = &mut *partial;
            self.part(kv_head, tokens.clone(), part, queries, tile, part_states, sums);
            let parts = part_states.chunks_exact(group).zip(sums.chunks_exact(width));
            let totals = tokens.clone().zip(states.chunks_exact_mut(group));
            for ((token, states), (part_states, sums)) in totals.zip(parts) {
                if !overlap(&self.visible(token), part, PART).is_empty() {
                    tile::merge(states, out(token), part_states, sums);
                }
            }
        }
        for (token, states) in tokens.zip(states.chunks_exact(group)) {
            tile::finish(states, out(token));
        }
    }

    /// Attention to one part of the keys: `states` and `sums` have a row of the key head's query
    /// heads per token.
    #[allow(clippy::too_many_arguments, reason = "in and out, each by what it is")]
    fn part(
        &self,
        kv_head: usize,
        tokens: Range<usize>,
        part: usize,
        queries: &[f32],
        buffers: &mut TileBuffers,
        states: &mut [Softmax],
        sums: &mut [f32],
    ) {
        let (dim, group, width) = (self.head_dim, self.group(), self.width());
        states.fill(Softmax::EMPTY);
        sums.fill(0.0);
        buffers.keys.resize(TILE * dim, 0.0);
        buffers.values.resize(TILE * dim, 0.0);
        let seen = self.visible(tokens.start).start..self.visible(tokens.end - 1).end;
        let seen = overlap(&seen, part, PART);
        for tile in seen.start / TILE..seen.end.div_ceil(TILE) {
            let panels = overlap(&seen, tile, TILE);
            let panels = panels.start / PANEL..panels.end.div_ceil(PANEL);
            let read = panels.len() * PANEL * dim;
            let (keys, values) = (&mut buffers.keys[..read], &mut buffers.values[..read]);
            self.cache.read(kv_head, panels.clone(), keys, values);
            let rows = states.chunks_exact_mut(group).zip(sums.chunks_exact_mut(width));
            for (token, (states, sums)) in tokens.clone().zip(rows) {
                let seen = overlap(&self.visible(token), tile, TILE);
                if seen.is_empty() {
                    continue;
                }
                let first = seen.start / PANEL * PANEL;
                let skip = (first - panels.start * PANEL) * dim;
                let keys = Keys { keys: &keys[skip..], values: &values[skip..] };
                let queries = &queries[(token * self.kv_heads + kv_head) * width..][..width];
                let heads = Heads { queries, states, sums };
                let seen = seen.start - first..seen.end - first;
                run_best(Attend { keys, seen, scale: self.scale, heads });
            }
        }
    }

    /// The state of a key head's query heads before their first key.
    fn begin(&self, kv_head: usize, states: &mut [Softmax], sums: &mut [f32]) {
        match self.sinks {
            None => states.fill(Softmax::EMPTY),
            Some(sinks) => {
                for (state, sink) in states.iter_mut().zip(&sinks[kv_head * self.group()..]) {
                    *state = Softmax::sink(*sink);
                }
            }
        }
        sums.fill(0.0);
    }

    /// Positions that the chunk's token number `token` sees.
    fn visible(&self, token: usize) -> Range<usize> {
        let end = self.first + token + 1;
        self.window.map_or(0, |w| end.saturating_sub(w))..end
    }

    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Elements of the query heads that share a key head.
    fn width(&self) -> usize {
        self.group() * self.head_dim
    }
}

/// The parts that some positions are in.
fn parts(positions: &Range<usize>) -> Range<usize> {
    positions.start / PART..positions.end.div_ceil(PART)
}

/// Those of the positions that are in interval number `number` of `length`.
fn overlap(positions: &Range<usize>, number: usize, length: usize) -> Range<usize> {
    positions.start.max(number * length)..positions.end.min((number + 1) * length)
}
