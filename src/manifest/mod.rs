//! The manifest: the TOML as typed, and the job resolved from it once. Knows nothing of what is done with it.

mod job;

pub use job::*;
