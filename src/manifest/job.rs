//! The resolved job: every default filled in, every path absolute, every pattern checked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::steps::{
    ConvertDtype, FormatSpec, NativeMxfp4, OnFallback, SpecialTokens, TokenizerSource,
};

/// A job, resolved from its manifest.
#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    /// The manifest's own path, absolute.
    pub manifest: Utf8PathBuf,
    /// The manifest's length in bytes.
    pub manifest_bytes: u64,
    /// The manifest's SHA-256, in lower-case hexadecimal.
    pub manifest_sha256: String,
    /// `<manifest stem>.lock` beside the manifest: pinned digests.
    pub lock: Utf8PathBuf,
    /// Absolute directory every other path was relative to.
    pub workspace: Utf8PathBuf,
    pub host: HostRequirements,
    pub input: Input,
    pub convert: Convert,
    pub quantize: Quantize,
    /// In manifest order; names are unique; exactly one is the baseline.
    pub formats: Vec<Format>,
    pub references: Vec<Reference>,
    pub load_check: LoadCheck,
    pub bench: Bench,
    pub evaluate: Option<Evaluate>,
    pub publish: Option<Publish>,
    pub report: Report,
}

/// What the host must have before any step starts.
#[derive(Clone, Debug, Default)]
pub struct HostRequirements {
    /// Bytes.
    pub min_ram: Option<u64>,
}

/// The checkpoint.
#[derive(Clone, Debug)]
pub struct Input {
    pub checkpoint: Utf8PathBuf,
    /// File name in the checkpoint's directory to SHA-256 from the manifest; it wins over the lock.
    pub sha256: BTreeMap<String, String>,
    /// The same from the lock file.
    pub pinned: BTreeMap<String, String>,
    pub tokenizer: TokenizerSource,
}

/// Checkpoint to GGUF.
#[derive(Clone, Debug)]
pub struct Convert {
    pub dtype: ConvertDtype,
    /// The intermediate file; `None` where quantize reads the checkpoint itself.
    pub gguf: Option<Utf8PathBuf>,
}

/// What all formats share.
#[derive(Clone, Debug)]
pub struct Quantize {
    pub native_mxfp4: NativeMxfp4,
    pub fallback: OnFallback,
    /// Whether the files say under `qrun.*` where they come from.
    pub provenance: bool,
    /// Bytes of tensors that a part may have; `None` where each is one file.
    pub split: Option<u64>,
    /// Path with `{format}` and `{timestamp}` still in it; absolute.
    pub gguf: String,
}

/// One candidate.
#[derive(Clone, Debug)]
pub struct Format {
    pub spec: FormatSpec,
    pub baseline: bool,
}

/// A file to hold candidates against.
#[derive(Clone, Debug)]
pub struct Reference {
    pub name: String,
    /// Where the file is, or where the job puts it.
    pub gguf: Utf8PathBuf,
    pub origin: ReferenceOrigin,
}

/// Where a reference's file comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum ReferenceOrigin {
    /// It is there already. One that is not required and not there is named in the report.
    Given { required: bool },
    /// The job makes it, from the source of its formats and with the same quantizer. It is no
    /// candidate: the report compares with it and never recommends it.
    Made(FormatSpec),
}

#[derive(Clone, Debug)]
pub struct LoadCheck {
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Bench {
    pub warmups: u32,
    pub runs: u32,
    pub prompt_tokens: u32,
    pub generate_tokens: u32,
    /// Benchmark JSON.
    pub out: Utf8PathBuf,
}

#[derive(Clone, Debug)]
pub struct Evaluate {
    pub corpus: Vec<Utf8PathBuf>,
    pub context: u32,
    pub max_windows: Option<u32>,
    pub special_tokens: SpecialTokens,
    pub greedy_tokens: u32,
}

/// What is published where.
#[derive(Clone, Debug)]
pub struct Publish {
    pub to: Utf8PathBuf,
    /// `None` for every format.
    pub only: Option<PublishOnly>,
    pub failed: FailedFormats,
    /// Path with `{timestamp}` still in it; absolute.
    pub sha256_list: Option<String>,
}

/// Which formats are published.
#[derive(Clone, Debug, Default)]
pub struct PublishOnly {
    /// By their places in the job.
    pub formats: BTreeSet<usize>,
    /// Also the one that the report recommends.
    pub recommended: bool,
}

/// What becomes of a format of which a step failed, when the others are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailedFormats {
    /// It is left out, and named.
    #[default]
    LeaveOut,
    /// Its file is published, if there is one.
    Publish,
}

impl Publish {
    /// Whether `format` is published whatever the report recommends.
    pub fn names(&self, format: usize) -> bool {
        self.only.as_ref().is_none_or(|only| only.formats.contains(&format))
    }
}

impl Job {
    /// The formats that may be published, by their places: those that the manifest names, or all
    /// where only the report can tell.
    pub fn publishable(&self) -> Vec<usize> {
        let Some(publish) = &self.publish else { return Vec::new() };
        let recommended = publish.only.as_ref().is_some_and(|only| only.recommended);
        (0..self.formats.len()).filter(|f| recommended || publish.names(*f)).collect()
    }
}

#[derive(Clone, Debug)]
pub struct Report {
    pub dir: Utf8PathBuf,
}
