//! The machine that numbers are measured on: its facts, its clocks, how fast it reads memory, how much
//! of that this process may have and has taken. Knows nothing of what runs on it.

pub mod bandwidth;
pub mod clock;
mod facts;
pub mod memory_limit;
pub mod rss;

pub use clock::ClockRates;
pub use facts::HostFacts;
