//! Published checkpoints (safetensors, both layouts) as a [`crate::gguf::TensorSource`]. Knows
//! nothing of GGUF writing.

mod check;
mod convert_rows;
mod converted;
mod error;
mod front_matter;
mod general;
mod index;
mod metadata;
mod model_card;
mod model_id;
mod narrow;
mod safetensors;
mod sampling;

pub use converted::Converted;
pub use error::Error;
pub use general::model_name;
pub use index::{Checkpoint, Found};
pub use metadata::QUANTIZATION_VERSION;
