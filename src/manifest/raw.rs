//! The manifest as typed: what serde reads and what the JSON schema is generated from. Every
//! docstring here is a description in the schema. Meaning is checked in `resolve`.

mod defaults;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::job::FailedFormats;
use super::names::{MixName, TypeName};
use crate::steps::evaluate::MIN_CONTEXT;
use crate::steps::{ConvertDtype, NativeMxfp4, OnFallback, SpecialTokens};

/// A job of qrun: from a published checkpoint to quantized GGUF files. Paths are relative to
/// `workspace`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    #[schemars(with = "u32", range(min = 1, max = 1))]
    pub schema: Spanned<u32>,
    /// Name of the job; stands in file names. Letters, digits, `-`, `_` and `.`.
    #[schemars(with = "String", regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: Spanned<String>,
    /// Directory that every other path is relative to; itself relative to the manifest. Left out,
    /// the manifest's own directory.
    #[schemars(with = "Option<String>")]
    pub workspace: Option<Spanned<String>>,
    /// What the host must have, checked before any step starts.
    #[serde(default)]
    pub host: Host,
    /// The checkpoint.
    pub input: Input,
    /// Checkpoint to GGUF.
    #[serde(default)]
    pub convert: Convert,
    /// What all formats share.
    pub quantize: Quantize,
    /// The candidates, in the order of the report. Exactly one is the baseline.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub format: Vec<Format>,
    /// Files to hold the candidates against.
    #[serde(default)]
    pub reference: Vec<Reference>,
    /// Whether each candidate loads and computes.
    #[serde(default)]
    pub load_check: LoadCheck,
    /// How fast each candidate is.
    #[serde(default)]
    pub bench: Bench,
    /// How far each candidate is from the references over a text. Left out, this is not measured.
    pub evaluate: Option<Evaluate>,
    /// Where the candidates are copied to, once every step of them and the report are done. Left
    /// out, they stay where quantize puts them.
    pub publish: Option<Publish>,
    /// The report.
    #[serde(default)]
    pub report: Report,
}

/// What the host must have, checked before any step starts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Host {
    /// RAM at least, for example `"32 GB"` or `"30 GiB"`. A machine sold with 32 GB has 32 GiB less
    /// what its firmware and kernel take: more than `32 GB`, less than `32 GiB`. Left out, only
    /// what the steps need is checked.
    #[schemars(with = "Option<String>")]
    pub min_ram: Option<Spanned<String>>,
}

/// The checkpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Input {
    /// Directory with `config.json` and `*.safetensors`, in either published layout.
    #[schemars(with = "String")]
    pub checkpoint: Spanned<String>,
    /// File name to SHA-256. Files it leaves out are pinned in the lock file beside the manifest
    /// at the first run.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>", extend("additionalProperties" = {
        "type": "string", "pattern": "^[0-9a-fA-F]{64}$"
    }))]
    pub sha256: BTreeMap<Spanned<String>, Spanned<String>>,
    /// `"o200k_harmony"` for the built-in vocabulary, or a directory with `tokenizer.json`. Left
    /// out, the checkpoint's own `tokenizer.json`.
    #[schemars(with = "Option<String>")]
    pub tokenizer: Option<Spanned<String>>,
}

/// Checkpoint to GGUF.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Convert {
    /// Type of the tensors that the checkpoint does not hold in MXFP4.
    #[schemars(with = "ConvertDtype")]
    pub dtype: Spanned<String>,
    /// The converted file. Left out, none is written and quantize reads the checkpoint itself.
    #[schemars(with = "Option<String>")]
    pub gguf: Option<Spanned<String>>,
}

/// What all formats share.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Quantize {
    /// What happens to experts that are MXFP4 already: `keep` copies them unchanged, `requantize`
    /// gives them the format's type.
    #[serde(default = "defaults::keep")]
    #[schemars(with = "NativeMxfp4")]
    pub native_mxfp4: Spanned<String>,
    /// What happens where the rows of a tensor are no multiple of the block size of the type that it
    /// should get: `warn` takes the type that llama-quantize takes then and says so, `refuse` writes
    /// nothing.
    #[serde(default = "defaults::warn")]
    #[schemars(with = "OnFallback")]
    pub fallback: Spanned<String>,
    /// Whether the files carry, as metadata under `qrun.*`, what their bytes are a function of: digests
    /// of the checkpoint's files and of the importance matrix, the recipe, versions of the quantizers.
    /// Left out, false.
    #[serde(default)]
    pub provenance: bool,
    /// Path of each candidate, with `{name}`, `{format}` and `{timestamp}` in it. The timestamp is
    /// the UTC time at which that file was made, `yyyymmdd_hhmmss`; a fresh file keeps its name.
    #[schemars(with = "String")]
    pub gguf: Spanned<String>,
    /// Write parts of at most so many bytes of tensors, such as "45 GB", as llama-gguf-split does: `gguf`
    /// without its ending is what they are called by, `NAME-00001-of-00003.gguf`. Left out, each
    /// candidate is one file.
    #[schemars(with = "Option<String>")]
    pub split: Option<Spanned<String>>,
    /// Importance matrix that llama-imatrix made, in either of its formats, for all formats that
    /// name none of their own, and for references that the job makes. The quantized files' metadata holds the path as it stands here. Left
    /// out, columns are not weighed, and formats of the fewest bits cannot be made.
    #[schemars(with = "Option<String>")]
    pub imatrix: Option<Spanned<String>>,
}

/// One candidate: a mix, and types for the tensors that a pattern matches.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, extend("if" = { "not": { "required": ["base"] } },
    "then" = { "properties": { "name": { "$ref": "#/$defs/Mix" } } }))]
pub struct Format {
    /// Name of the candidate; stands in file names. Letters, digits, `-`, `_` and `.`.
    #[schemars(with = "String", regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: Spanned<String>,
    /// What the candidate is to the others. Exactly one is the baseline.
    #[schemars(with = "Option<FormatRole>")]
    pub role: Option<Spanned<String>>,
    /// The mix, as llama-quantize names them: `q4_K_M`, `q8_0`, ... Left out, the name is the mix.
    #[schemars(with = "Option<MixName>")]
    pub base: Option<Spanned<String>>,
    /// Types for some tensors; the first match wins over the mix.
    #[serde(default)]
    pub tensors: Vec<TensorRule>,
    /// Whether every tensor that no other key names gets the mix's base type instead of what the mix
    /// says of it; MXFP4 tensors stay unless `native_mxfp4` says otherwise.
    #[serde(default)]
    pub pure: bool,
    /// A ggml type for `output.weight`; it wins over `tensors`. Left out, they or the mix decide.
    #[schemars(with = "Option<TypeName>")]
    pub output_tensor_type: Option<Spanned<String>>,
    /// A ggml type for the token embedding; it wins over `tensors`. Left out, they or the mix decide.
    #[schemars(with = "Option<TypeName>")]
    pub token_embedding_type: Option<Spanned<String>>,
    /// Whether `output.weight` is copied as it is; not together with `output_tensor_type`. Left out,
    /// false.
    #[schemars(with = "Option<bool>")]
    pub leave_output_tensor: Option<Spanned<bool>>,
    /// Importance matrix of this candidate alone. Left out, the one of `[quantize]`, if there is one.
    #[schemars(with = "Option<String>")]
    pub imatrix: Option<Spanned<String>>,
}

/// What a candidate is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "Role", rename_all = "lowercase")]
pub enum FormatRole {
    /// The one that is kept unless another is better by more than the noise.
    Baseline,
}

/// A type for the tensors whose name matches.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TensorRule {
    /// Regular expression searched in the tensor's name, for example `^output\.weight$`.
    #[serde(rename = "match")]
    #[schemars(with = "String")]
    pub pattern: Spanned<String>,
    /// A ggml type such as `q4_0`, `q6_K` or `bf16`.
    #[serde(rename = "type")]
    #[schemars(with = "TypeName")]
    pub ggml_type: Spanned<String>,
}

/// A file to hold the candidates against.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Reference {
    /// What it is the reference for, for example `quality`. Letters, digits, `-`, `_` and `.`.
    #[schemars(with = "String", regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: Spanned<String>,
    /// The file: one that is there, or, with `format`, the one that the job makes.
    #[schemars(with = "String")]
    pub gguf: Spanned<String>,
    /// A mix such as `q8_0`: the job makes the file itself, from the source of its candidates. Left
    /// out, the file is there already.
    #[schemars(with = "Option<MixName>")]
    pub format: Option<Spanned<String>>,
    /// Whether the job fails without the file. If not, the report names what is missing and leaves
    /// it out. Left out, true.
    #[schemars(with = "Option<bool>")]
    pub required: Option<Spanned<bool>>,
}

/// Whether each candidate loads and computes.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct LoadCheck {
    /// Time after which a check has failed, for example `"120s"` or `"5m"`.
    #[schemars(with = "String")]
    pub timeout: Spanned<String>,
}

/// How fast each candidate is.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Bench {
    /// Runs before those that count.
    #[schemars(with = "u32")]
    pub warmups: Spanned<u32>,
    /// Runs that count.
    #[schemars(with = "u32", range(min = 1))]
    pub runs: Spanned<u32>,
    /// Tokens of the prompt.
    #[schemars(with = "u32", range(min = 1))]
    pub prompt_tokens: Spanned<u32>,
    /// Tokens to generate after it.
    #[schemars(with = "u32", range(min = 1))]
    pub generate_tokens: Spanned<u32>,
    /// The results as JSON.
    #[schemars(with = "String")]
    pub out: Spanned<String>,
}

/// How far each candidate is from the references over a text.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Evaluate {
    /// Text files, read in this order.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub corpus: Spanned<Vec<Spanned<String>>>,
    /// Tokens per window; the second half of each is scored.
    #[serde(default = "defaults::window")]
    #[schemars(with = "u32", range(min = MIN_CONTEXT))]
    pub context: Spanned<u32>,
    /// Windows at most, from the start of the text. Left out, all of it.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub max_windows: Option<Spanned<u32>>,
    /// What text that spells a special token becomes: that token where llama-perplexity takes it
    /// for one, or text.
    #[serde(default)]
    pub special_tokens: SpecialTokens,
    /// Tokens to generate greedily, to see where a candidate first leaves a reference.
    #[serde(default = "defaults::greedy_tokens")]
    #[schemars(with = "u32", range(min = 1))]
    pub greedy_tokens: Spanned<u32>,
}

/// Where the candidates are copied to, once every step of them and the report are done.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Publish {
    /// A directory of this machine; stores are not supported yet. Where the file system can, files
    /// share their blocks with the originals (a reflink) until one of the two is changed. What
    /// earlier publications put there stays.
    #[schemars(with = "String")]
    pub to: Spanned<String>,
    /// What is published: names of formats, and `recommended` for the one that the report
    /// recommends, which is the baseline where it says to keep that. Left out, every format.
    #[schemars(with = "Option<Vec<String>>", length(min = 1))]
    pub only: Option<Spanned<Vec<Spanned<String>>>>,
    /// What becomes of a format of which a step failed or did not run: `leave_out` leaves it out
    /// and says so; `publish` publishes its file all the same, if there is one.
    #[serde(default = "defaults::leave_out")]
    #[schemars(with = "FailedFormats")]
    pub failed: Spanned<String>,
    /// File of SHA-256 lines as `sha256sum -c` reads them, with `{name}` and `{timestamp}` in its
    /// path. Left out, none is written.
    #[schemars(with = "Option<String>")]
    pub sha256_list: Option<Spanned<String>>,
}

/// The report.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Report {
    /// Directory for `README-<name>.md`, a copy of the benchmark's JSON and the logs.
    #[schemars(with = "String")]
    pub dir: Spanned<String>,
}
