//! Threads and numeric kernels over slices: matrix products, attention, norms. Knows nothing of
//! models or files.
//!
//! Every output element is computed by one thread in one fixed order of sums, so the numbers are
//! the same at any number of threads and however a caller cuts its work.

mod activation;
mod activations;
mod attention;
mod exp;
mod matmul;
mod norm;
mod pool;
mod precision;
mod shared;

pub use activation::Activation;
pub use activations::Activations;
pub use attention::{Attention, AttentionBuffers, KeysAndValues, PANEL, TILE, attention_bytes};
pub use matmul::{Gate, Matrix, MatrixError, Product, multiply, multiply_while};
pub use norm::{rms_norm, rms_norm_in_place};
pub use pool::{PoolError, ThreadPool};
pub use precision::{Order, Q8_BLOCK, narrow_f16, narrow_q8, widen_f16, widen_q8};
pub use shared::SharedSlice;
