//! Files: whether one is still the same, its bytes in memory, its digest, and new ones that appear
//! whole or not at all. Knows nothing of what stands in them.

mod digest;
mod error;
mod journal;
mod map;
mod mark;
mod os;
mod output;
pub mod program;
mod stamp;
mod trial;
mod writable;

pub use digest::{FileDigest, HashWriter};
pub use error::Error;
pub use journal::Journal;
pub use map::{Map, open_regular};
pub use mark::Mark;
pub use os::share_blocks;
pub use output::{Flusher, Output, Prefix, free_bytes, kept_name, refuse_existing, write_atomic};
pub use stamp::{FileId, Stamp, now_ms, now_ns};
pub use trial::{can_share_blocks, write_rate};
pub use writable::{existing_ancestor, why_not_writable};
