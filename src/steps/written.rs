//! What convert and quantize leave.

use std::collections::BTreeMap;
use std::fmt;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::Effects;
use crate::files::FileDigest;
use crate::ggml::StoredType;

/// One tensor of a written file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenTensor {
    pub name: String,
    #[serde(rename = "type")]
    pub ggml_type: StoredType,
    /// Bytes of its data, without padding.
    pub bytes: u64,
    /// SHA-256 of them, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Result of [`ConvertSpec`] and [`QuantizeSpec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteResult {
    /// The file, or the first of its parts.
    pub output: FileDigest,
    /// All parts in order, where it was written in parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<FileDigest>,
    pub tensors: Vec<WrittenTensor>,
    /// Tensors taken over from a killed run's unfinished file.
    pub resumed_tensors: usize,
    pub bits_per_weight: f64,
    /// The importance matrix that weighed columns, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imatrix: Option<UsedImatrix>,
}

impl WriteResult {
    /// Every file that was written, in order.
    pub fn files(&self) -> &[FileDigest] {
        if self.parts.is_empty() { std::slice::from_ref(&self.output) } else { &self.parts }
    }

    /// What the step left that wrote them.
    pub fn effects(&self) -> Effects {
        let made_of_inputs = self.files().iter().map(|file| file.path.clone()).collect();
        Effects { made_of_inputs, ..Effects::of(self.files().to_vec()) }
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.files().iter().map(|file| file.bytes).sum()
    }
}

/// An importance matrix that a file was, or would be, quantized with, and what stands out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsedImatrix {
    /// As the user typed it, like the quantized file's metadata.
    pub path: Utf8PathBuf,
    /// Lower-case hexadecimal SHA-256 of the whole file.
    pub sha256: String,
    /// The texts that it was measured over, as far as it names them.
    pub datasets: Vec<String>,
    /// Pieces of text that were measured, where it says.
    pub chunks: Option<u32>,
    /// Tensors with weights whose importance is zero, and the share of theirs that is so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zero_shares: BTreeMap<String, f64>,
    /// By tensor, the experts of which nothing was measured: no token was routed to them. Number 0 of
    /// a tensor without experts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unmeasured: BTreeMap<String, Vec<usize>>,
}

impl fmt::Display for UsedImatrix {
    /// Which it is, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = measured_over(self.chunks, &self.datasets);
        write!(f, "{}: SHA-256 {}, {measured}", self.path, self.sha256)
    }
}

/// What a matrix was measured over, in words.
pub fn measured_over(chunks: Option<u32>, datasets: &[String]) -> String {
    let chunks = chunks.map_or(String::new(), |chunks| format!("{chunks} chunks of "));
    match datasets {
        [] => format!("measured over {chunks}a text that it does not name"),
        names => format!("measured over {chunks}{}", names.join(", ")),
    }
}
