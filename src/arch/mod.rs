//! Architectures as tables, one file each: hyperparameters, tensors, the layouts in which checkpoints
//! are published. Conversion, load check, inspection, traffic and memory all read these rows. Knows
//! nothing of how anything is computed, but what an activation is called.

mod config;
mod decoder;
mod error;
mod gpt_oss;
mod hyper;
mod keys;
mod map;
mod metadata;
mod parts;

use crate::gguf::Metadata;

pub use config::Config;
pub use decoder::{Decoder, Experts, Layer, Pairing, Rope};
pub use error::{ArchError, ConfigError};
pub use hyper::{Hyper, RopeScaling};
pub use keys::{Fixed, Key};
pub use map::{Mapped, Source, Stored};
pub use parts::{Dim, ExpertNames, Kind, Make, Part, Reads, Row};

use config::Json;

/// The architectures there are.
pub static ALL: &[&Architecture] = &[&gpt_oss::GPT_OSS];

/// What the models of one architecture have in common.
pub struct Architecture {
    /// Its name in `general.architecture`.
    pub name: &'static str,
    /// Its hyperparameters, in the order in which llama.cpp's converter writes them.
    pub keys: &'static [Key],
    /// What a GGUF file may say and only one answer is computed with.
    pub fixed: &'static [Fixed],
    /// In which its checkpoints are published, that which llama.cpp's converter reads first.
    pub layouts: &'static [Layout],
    /// Its tensors.
    pub rows: &'static [Row],
    /// Built-in vocabularies, for checkpoints that come without.
    pub vocabularies: &'static [&'static str],
    /// The network that a model with these hyperparameters is.
    pub decoder: fn(&Hyper) -> Decoder,
}

/// A way in which checkpoints are published.
pub struct Layout {
    /// What people call it.
    pub name: &'static str,
    /// What `config.json` has as `model_type`.
    pub model_type: Option<&'static str>,
    /// What names of parts of layers begin with; `{l}` is the layer.
    pub layer: &'static str,
    /// What `config.json` may say and only one answer is converted from.
    pub fixed: &'static [Fixed],
    /// Puts in their place what of `config.json` may stand elsewhere.
    pub prepare: fn(&mut Json) -> Result<(), ConfigError>,
    /// Sets and checks what takes more than a row.
    pub finish: fn(&Json, &mut Hyper) -> Result<(), ConfigError>,
}

impl Architecture {
    /// The architecture of a GGUF file.
    ///
    /// # Errors
    /// If it is none of [`ALL`].
    pub fn of_metadata(metadata: &Metadata) -> Result<&'static Self, ArchError> {
        let found = metadata.str("general.architecture");
        ALL.iter().copied().find(|a| Some(a.name) == found).ok_or_else(|| {
            let known: Vec<&str> = ALL.iter().map(|a| a.name).collect();
            ArchError::Unknown { found: found.map(str::to_owned), known: known.join(" or ") }
        })
    }
}

impl std::fmt::Debug for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
