//! A text in progress: its KV cache, its position, and the buffers of the forward pass.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::host::HostFacts;

use super::network::State;
use super::{Model, ModelError, SessionMemory};

/// Tokens computed together at most: enough to read the weights seldom, few enough to bound the
/// buffers. The numbers do not depend on it.
const CHUNK: usize = 512;

/// Which tokens to compute logits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitsFor {
    /// None: only fill the KV cache.
    None,
    /// The last of the tokens given.
    Last,
    /// So many of the tokens given, from the end; all if there are not so many.
    Tail(usize),
    /// Each of the tokens given.
    All,
}

/// A text that a [`Model`] reads or writes, token by token or many at a time.
pub struct Session<'m> {
    model: &'m Model,
    state: State,
    logits: Vec<f32>,
    position: usize,
    capacity: usize,
    stop: Option<&'m AtomicBool>,
}

impl<'m> Session<'m> {
    pub(super) fn new(model: &'m Model, max_tokens: usize) -> Result<Self, ModelError> {
        let (asked, limit) = (max_tokens, model.context_length());
        if asked > limit {
            return Err(ModelError::TooLong { asked, limit });
        }
        model.network.decoder().check_cache(model.kv_cache)?;
        let needed = Self::memory(model, max_tokens);
        let available = HostFacts::gather().available_ram_bytes;
        // Zero: this system does not say.
        if available > 0 && needed.total() > available {
            return Err(ModelError::Memory { tokens: max_tokens, needed, available });
        }
        let chunk = CHUNK.min(max_tokens);
        let state = model.network.state(max_tokens, chunk, model.exact, model.kv_cache);
        let capacity = max_tokens;
        Ok(Self { model, state, logits: Vec::new(), position: 0, capacity, stop: None })
    }

    /// Stops reading tokens soon after `stop` is set: after the attention or the block of a matrix that
    /// is being computed.
    pub fn stopped_by(mut self, stop: &'m AtomicBool) -> Self {
        self.stop = Some(stop);
        self
    }

    /// What a session takes of memory.
    pub(super) fn memory(model: &Model, max_tokens: usize) -> SessionMemory {
        let (chunk, threads) = (CHUNK.min(max_tokens), model.pool.threads());
        model.network.decoder().memory(max_tokens, chunk, threads, model.kv_cache)
    }

    /// Reads the tokens and answers with rows of logits, one per token that `logits` asks for.
    /// Splitting the same tokens over several calls gives the same numbers.
    ///
    /// # Errors
    /// If the session has no room for them or one is not in the vocabulary; the session is then
    /// as it was. [`ModelError::Interrupted`] if it was told to stop; it has then read some of them,
    /// in whole chunks.
    pub fn forward(&mut self, tokens: &[u32], logits: LogitsFor) -> Result<&[f32], ModelError> {
        let vocab = self.model.vocab_size();
        if tokens.len() > self.capacity - self.position {
            return Err(ModelError::Full {
                position: self.position,
                asked: tokens.len(),
                capacity: self.capacity,
            });
        }
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(ModelError::Token { token, vocab });
        }
        let wanted = match logits {
            LogitsFor::None => 0,
            LogitsFor::Last => tokens.len().min(1),
            LogitsFor::Tail(rows) => rows.min(tokens.len()),
            LogitsFor::All => tokens.len(),
        };
        self.logits.resize(wanted * vocab, 0.0);
        let Session { model, state, logits, position, stop, .. } = self;
        let go_on = || !stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        let mut first_wanted = tokens.len() - wanted;
        let mut rows = logits.as_mut_slice();
        for chunk in tokens.chunks(CHUNK) {
            let skipped = first_wanted.min(chunk.len());
            first_wanted -= skipped;
            let (out, rest) = rows.split_at_mut((chunk.len() - skipped) * vocab);
            rows = rest;
            if !model.network.forward(&model.pool, state, chunk, *position, out, &go_on) {
                logits.clear();
                return Err(ModelError::Interrupted);
            }
            *position += chunk.len();
        }
        Ok(&self.logits)
    }

    /// The rows of logits that the last [`Session::forward`] gave.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Hands over the rows of logits that the last [`Session::forward`] gave; they are the
    /// session's largest buffer after the KV cache.
    pub fn take_logits(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.logits)
    }

    /// Checks the rows of logits that the last [`Session::forward`] gave.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] if one of them is infinite or no number.
    pub fn check_finite(&self) -> Result<(), ModelError> {
        let vocab = self.model.vocab_size();
        let Some(at) = self.logits.iter().position(|l| !l.is_finite()) else {
            return Ok(());
        };
        // The last row belongs to the last token read.
        let rows_after = (self.logits.len() - 1) / vocab - at / vocab;
        Err(ModelError::NotFinite {
            position: self.position - rows_after,
            token: at % vocab,
            value: self.logits[at],
        })
    }

    /// Tokens read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens the session has room for in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets all tokens, and the logits of the last.
    pub fn clear(&mut self) {
        self.state.cache.clear();
        self.position = 0;
        self.logits.clear();
    }

    /// Forgets all but the first `tokens` tokens; nothing if there are not so many.
    ///
    /// # Errors
    /// [`ModelError::Forgotten`] if the tokens that a sliding window would see then have been
    /// overwritten; the session is then as it was. A window's layer keeps as many tokens more
    /// than the window as are read at once.
    pub fn truncate(&mut self, tokens: usize) -> Result<(), ModelError> {
        if tokens == 0 {
            self.clear();
        } else if tokens < self.position {
            let least = self.state.cache.shortest_prefix();
            if tokens < least {
                return Err(ModelError::Forgotten { tokens, least });
            }
            self.position = tokens;
            self.logits.clear();
        }
        Ok(())
    }
}
