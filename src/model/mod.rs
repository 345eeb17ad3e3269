//! One network of parts, its KV cache, its sampler. Knows no architecture's name, no files and no steps.

pub mod sampler;

mod error;
mod feed_forward;
mod generate;
mod kv_cache;
mod loader;
mod memory;
mod network;
mod rope;
mod session;
mod traffic;
mod weights;

use std::sync::Arc;

use crate::arch::Architecture;
use crate::compute::ThreadPool;
use crate::gguf::TensorSource;

pub use error::ModelError;
pub use generate::{Generation, Token, generate};
pub use kv_cache::KvCacheType;
pub use memory::SessionMemory;
use network::Network;
pub use session::{LogitsFor, Session};
pub use traffic::{DecodeTraffic, decode_traffic};

/// How a model is to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelOptions {
    /// Threads to compute on; zero counts as one. The numbers do not depend on it.
    pub threads: usize,
    /// Multiply dequantized weights with f32 activations: slow, and the measure of every faster
    /// way. Otherwise activations are quantized to 8 bits where the weights are quantized.
    pub exact: bool,
    /// What keys and values are kept in; `None` for f32 if `exact`, f16 otherwise.
    pub kv_cache: Option<KvCacheType>,
}

/// A model, checked and ready to compute.
pub struct Model {
    architecture: &'static Architecture,
    warnings: Vec<String>,
    network: Network,
    pool: ThreadPool,
    exact: bool,
    kv_cache: KvCacheType,
}

impl Model {
    /// Checks that every tensor of the architecture is there with the type and the shape it must
    /// have. Weights stay where `source` has them, if it has them in place; small tensors (norms,
    /// biases, sinks) are copied.
    ///
    /// # Errors
    /// If the architecture is unknown, a hyperparameter is missing or impossible, or a tensor is
    /// missing, of the wrong shape or of a type that cannot be computed with.
    pub fn load(
        source: Arc<dyn TensorSource>,
        options: &ModelOptions,
    ) -> Result<Model, ModelError> {
        let architecture = Architecture::of_metadata(source.metadata())?;
        Self::of(architecture, source, options)
    }

    /// A model of this architecture.
    fn of(
        architecture: &'static Architecture,
        source: Arc<dyn TensorSource>,
        options: &ModelOptions,
    ) -> Result<Model, ModelError> {
        let pool = ThreadPool::new(options.threads)?;
        source.will_compute();
        let warnings = architecture.warnings(source.metadata());
        let network = Network::load(source, architecture)?;
        let exact = options.exact;
        let default = if exact { KvCacheType::F32 } else { KvCacheType::F16 };
        let kv_cache = options.kv_cache.unwrap_or(default);
        Ok(Model { architecture, warnings, network, pool, exact, kv_cache })
    }

    /// Name of the architecture, as `general.architecture` has it.
    pub fn architecture(&self) -> &str {
        self.architecture.name
    }

    /// What the file's metadata says of the model and is not computed with, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Numbers in a row of logits.
    pub fn vocab_size(&self) -> usize {
        self.network.decoder().vocab
    }

    /// Longest context the model was made for, in tokens.
    pub fn context_length(&self) -> usize {
        self.network.decoder().context
    }

    /// What a text of at most `max_tokens` tokens takes of memory.
    pub fn session_memory(&self, max_tokens: usize) -> SessionMemory {
        Session::memory(self, max_tokens)
    }

    /// Starts a text of at most `max_tokens` tokens, with a KV cache of that size.
    ///
    /// # Errors
    /// If the model was not made for so many tokens, its keys and values cannot be kept in the type
    /// asked for, or the cache and the buffers do not fit into the memory that is available.
    pub fn session(&self, max_tokens: usize) -> Result<Session<'_>, ModelError> {
        Session::new(self, max_tokens)
    }
}

#[cfg(test)]
mod tests;
