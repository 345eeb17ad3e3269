//! Memory that a text in progress takes.

/// Bytes that a session takes at most, but for the logits of more than one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMemory {
    /// Keys and values.
    pub cache: u64,
    /// What chunks of tokens are computed in.
    pub buffers: u64,
}

impl SessionMemory {
    /// Both together.
    pub fn total(&self) -> u64 {
        self.cache.saturating_add(self.buffers)
    }
}
