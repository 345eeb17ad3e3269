//! Published checkpoints (safetensors, both layouts) as a [`crate::gguf::TensorSource`]. Knows
//! nothing of GGUF writing.

mod check;
mod convert_rows;
mod converted;
mod error;
mod index;
mod json_file;
mod metadata;
mod model_card;
mod model_id;
mod narrow;
mod safetensors;

pub use converted::Converted;
pub use error::Error;
pub use index::{Checkpoint, Found};
pub use metadata::{QUANTIZATION_VERSION, model_name};
