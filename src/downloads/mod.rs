//! Files as they were downloaded: reading texts, JSON as Python writes it, and telling a file from
//! what stands in its place. Knows what the files of a model are called, and nothing of what they say.

pub mod json;
mod read;
mod stand_in;

pub use read::{ReadError, model_files, names_in, read_text, read_text_if_there};
pub use stand_in::{StandIn, text_instead};
