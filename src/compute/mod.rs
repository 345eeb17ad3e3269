//! Threads and numeric kernels over slices: matrix products, attention, norms. Knows nothing of
//! models or files.
//!
//! Every output element is computed by one thread in one fixed order of sums, so the numbers are
//! the same at any number of threads and however a caller cuts its work.

mod activations;
mod attention;
mod lanes;
mod matmul;
mod norm;
mod pool;
mod shared;

pub use activations::Activations;
pub use attention::{HeadState, attend};
pub use matmul::{Matrix, MatrixError, Product, multiply};
pub use norm::rms_norm;
pub use pool::{PoolError, ThreadPool};
pub use shared::SharedSlice;
