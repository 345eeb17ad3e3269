//! What attention works in, kept from call to call so that nothing is allocated per token.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::tile::Softmax;
use super::{TILE, TOKENS, parts};
use crate::compute::{SharedSlice, ThreadPool};

/// What attention works in, to be used again.
#[derive(Default)]
pub struct AttentionBuffers {
    pub(super) threads: Vec<Scratch>,
    /// Of each part of one token's keys, for each key head.
    pub(super) parts: Partial,
    /// Of one token's query heads that share a key head.
    pub(super) states: Vec<Softmax>,
}

/// What one thread works in.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) tile: TileBuffers,
    pub(super) partial: Partial,
    /// For each token and head, over the parts so far.
    pub(super) states: Vec<Softmax>,
}

#[derive(Default)]
pub(super) struct TileBuffers {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

/// Softmaxes over a part, and the weighted sums of its values.
#[derive(Default)]
pub(super) struct Partial {
    pub(super) states: Vec<Softmax>,
    pub(super) sums: Vec<f32>,
}

/// Bytes that [`AttentionBuffers`] take at most, for texts of up to `tokens` tokens.
pub fn attention_bytes(
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    tokens: usize,
    threads: usize,
) -> u64 {
    // A softmax's two numbers, and a sum per element.
    let head = head_dim.saturating_add(2);
    let one_token = parts(&(0..tokens)).len().saturating_mul(heads).saturating_mul(head);
    let share = TOKENS.saturating_mul(heads / kv_heads).saturating_mul(head + 2);
    let thread = share.saturating_add(2 * TILE * head_dim);
    let floats = one_token.saturating_add(thread.saturating_mul(threads)).saturating_add(heads);
    (floats as u64).saturating_mul(size_of::<f32>() as u64)
}

/// Calls `body` once for every task on all threads, each of which works in a scratch of its own.
pub(super) fn for_tasks(
    pool: &ThreadPool,
    scratch: &mut Vec<Scratch>,
    tasks: usize,
    body: impl Fn(usize, &mut Scratch) + Sync,
) {
    let slots = pool.threads().min(tasks);
    if scratch.len() < slots {
        scratch.resize_with(slots, Scratch::default);
    }
    let scratch = SharedSlice::new(scratch);
    let next = AtomicUsize::new(0);
    pool.for_blocks(slots, 1, |slots| {
        for slot in slots {
            // SAFETY: each slot is given out once.
            let [scratch] = (unsafe { scratch.slice_mut(slot, 1) }) else { return };
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    break;
                }
                body(task, scratch);
            }
        }
    });
}
