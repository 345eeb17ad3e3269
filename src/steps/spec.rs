//! Specifications and results of the steps: what crosses the pipe between runner and worker.
//!
//! Paths are absolute, or relative to the worker's working directory, which is the workspace.

use std::collections::BTreeMap;
use std::fmt;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::FileDigest;
use crate::ggml::{GgmlType, StoredType};
use crate::model::KvCacheType;

/// One step to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepSpec {
    Verify(VerifySpec),
    Convert(ConvertSpec),
    Quantize(QuantizeSpec),
    LoadCheck(LoadCheckSpec),
    Bench(BenchSpec),
    BenchPair(BenchPairSpec),
    Evaluate(EvaluateSpec),
    Compare(CompareSpec),
    Report(ReportSpec),
    Publish(PublishSpec),
}

/// Hash the checkpoint's files and hold them against what is expected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifySpec {
    /// Directory the names are relative to.
    pub directory: Utf8PathBuf,
    /// File name to expected SHA-256; `None` where none is known yet.
    pub files: BTreeMap<String, Option<String>>,
}

/// Result of [`VerifySpec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifyResult {
    /// Every file named in the specification, in that order.
    pub files: Vec<FileDigest>,
}

/// Where the vocabulary comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerSource {
    /// `tokenizer.json` and its companions in the checkpoint's directory.
    Checkpoint,
    /// The built-in o200k_harmony vocabulary.
    O200kHarmony,
    /// Another directory with `tokenizer.json`.
    Directory(Utf8PathBuf),
}

/// Type of the tensors that a checkpoint does not hold in MXFP4, in the converted file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConvertDtype {
    #[default]
    F32,
    F16,
    Bf16,
}

/// Write a checkpoint as a GGUF file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConvertSpec {
    /// Directory with `config.json` and `*.safetensors`.
    pub checkpoint: Utf8PathBuf,
    pub tokenizer: TokenizerSource,
    pub dtype: ConvertDtype,
    pub out: Utf8PathBuf,
    /// Write parts of at most so many bytes of tensors, named after `out`, as llama-gguf-split does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<u64>,
    /// Replace what is there.
    pub force: bool,
}

/// What quantize does with experts that are MXFP4 already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NativeMxfp4 {
    /// Copy them unchanged.
    #[default]
    Keep,
    /// Quantize them again, as the format says.
    Requantize,
}

/// What quantize does where rows are too short for the blocks of the type that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFallback {
    /// Take a type that fits, as llama-quantize does, and say so.
    #[default]
    Warn,
    /// Write nothing.
    Refuse,
}

/// An override: tensors whose name matches get this type; the first match wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorRule {
    /// Regular expression searched in the tensor's name.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Type name, in any case.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub ggml_type: GgmlType,
}

/// A format: a mix and its overrides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FormatSpec {
    /// The name as the manifest has it; stands in file names.
    pub name: String,
    /// The mix (`q4_K_M`, `q8_0`, ...), in canonical spelling.
    pub base: String,
    /// Overrides, first match wins.
    pub tensors: Vec<TensorRule>,
    /// Every tensor that no override names gets the mix's base type.
    pub pure: bool,
    /// Type of `output.weight`; wins over the overrides.
    pub output_tensor_type: Option<GgmlType>,
    /// Type of the token embedding; wins over the overrides.
    pub token_embedding_type: Option<GgmlType>,
    /// Copy `output.weight` as it is.
    pub leave_output_tensor: bool,
    /// The importance matrix, if there is one.
    pub imatrix: Option<ImatrixFile>,
}

/// An importance matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImatrixFile {
    pub path: Utf8PathBuf,
    /// Its path as the user typed it: the quantized file's metadata holds it, and has to be the
    /// same wherever the workspace is.
    pub name: String,
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

/// Where quantize reads: a GGUF file, or a checkpoint as convert would write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantizeSource {
    Gguf(Utf8PathBuf),
    Checkpoint { directory: Utf8PathBuf, tokenizer: TokenizerSource, dtype: ConvertDtype },
}

/// What a quantized file is to say of where it comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// What the source is, or was converted from.
    pub made_from: QuantizeSource,
    /// SHA-256 of each of its files that decide what is made of it, by name as
    /// [`input_files`](super::quantize::input_files) has it. `None`: the step reads them to find out.
    pub inputs: Option<BTreeMap<String, String>>,
}

/// Write a model in another format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuantizeSpec {
    pub source: QuantizeSource,
    pub format: FormatSpec,
    pub native_mxfp4: NativeMxfp4,
    #[serde(default)]
    pub fallback: OnFallback,
    /// What the file is to say of where it comes from; `None` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    pub out: Utf8PathBuf,
    /// Write parts of at most so many bytes of tensors, named after `out`, as llama-gguf-split does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<u64>,
    /// Replace what is there.
    pub force: bool,
}

/// One tensor of a written file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenTensor {
    pub name: String,
    #[serde(rename = "type")]
    pub ggml_type: StoredType,
    /// Bytes of its data, without padding.
    pub bytes: u64,
    /// SHA-256 of them; of a file that an older qrun wrote it is not known.
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

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.files().iter().map(|file| file.bytes).sum()
    }
}

/// Check that a file is whole, loads and computes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadCheckSpec {
    pub gguf: Utf8PathBuf,
}

/// Result of [`LoadCheckSpec`]; a check that fails is an error, not a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadCheckResult {
    pub architecture: String,
    pub tensors: usize,
    pub load_ms: f64,
    /// What was generated from the fixed prompt, as text.
    pub sample: String,
    /// What was checked, in order, in words.
    pub checks: Vec<String>,
}

/// Benchmark one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchSpec {
    pub gguf: Utf8PathBuf,
    pub warmups: u32,
    pub runs: u32,
    pub prompt_tokens: u32,
    pub generate_tokens: u32,
    /// What keys and values are kept in; `None` for f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvCacheType>,
}

/// Benchmark two files in turns, to compare them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchPairSpec {
    /// The first file, and how both are benchmarked.
    pub first: BenchSpec,
    /// The second file.
    pub second: Utf8PathBuf,
    /// Decides in which order the two of each pair run.
    pub seed: u64,
}

/// A file that candidates are held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceFile {
    /// Name as the manifest has it, or `unquantized`.
    pub name: String,
    pub gguf: Utf8PathBuf,
}

/// What text of a corpus becomes that spells a special token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokens {
    /// What it is to llama-perplexity: `<|start|>`, `<|channel|>`, `<|constrain|>`, `<|message|>`,
    /// `<|end|>` and tokens of the user-defined type are those tokens; `<|return|>` and other
    /// control tokens are text.
    #[default]
    Parse,
    /// Text like any other.
    Literal,
}

/// KL divergence, perplexity and agreement of a file against references over a text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluateSpec {
    pub gguf: Utf8PathBuf,
    pub references: Vec<ReferenceFile>,
    pub corpus: Vec<Utf8PathBuf>,
    /// Tokens per window.
    pub context: u32,
    /// Windows at most, from the start of the corpus; `None` for all.
    pub max_windows: Option<u32>,
    /// Float activations instead of 8-bit ones.
    pub exact: bool,
    /// What text that spells a special token becomes.
    #[serde(default)]
    pub special_tokens: SpecialTokens,
    /// What keys and values are kept in, by all models; `None` for f16, or f32 if `exact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvCacheType>,
}

/// Size, types, tensor-wise error and greedy agreement of a file against one reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareSpec {
    pub gguf: Utf8PathBuf,
    pub reference: ReferenceFile,
    /// Tokens to generate greedily for the agreement.
    pub greedy_tokens: u32,
}

/// Write the JSON, the report and the recommendation from other steps' results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportSpec {
    pub job: String,
    /// The command to show in the report.
    pub command: String,
    /// In manifest order.
    pub candidates: Vec<ReportCandidate>,
    pub references: Vec<ReportReference>,
    /// Benchmark JSON, `bench_results_full.json`.
    pub bench_json: Utf8PathBuf,
    /// Directory for `README-<job>.md`, a copy of the JSON and the logs.
    pub dir: Utf8PathBuf,
    /// References that are not required and not there: name and path.
    pub missing_references: Vec<ReferenceFile>,
    /// Step name to what it warned of, for all steps of the job that did.
    #[serde(default)]
    pub warnings: BTreeMap<String, Vec<String>>,
    /// The manifest, and the files from outside that the job reads.
    pub made_from: Vec<InputFile>,
    /// When the report is written, as RFC 3339 has it.
    pub created: String,
    /// What is going to be published; absent where the job publishes nothing.
    pub publish: Option<ReportPublish>,
}

/// A file that a job reads and does not make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputFile {
    /// What it is to the job: a key of the manifest, in a directory with the file's name; or
    /// `manifest`.
    pub name: String,
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// Its size; absent where it was changed while the job ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of the whole file, in lower-case hexadecimal; absent where it was changed while the job ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// When a file was made, in UTC, as RFC 3339 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeAt {
    pub started: String,
    pub finished: String,
}

/// What a job is going to publish once its report is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPublish {
    pub to: Utf8PathBuf,
    /// Formats that may be published.
    pub formats: Vec<String>,
    /// Of these, format to the reason why nothing of it is.
    pub left_out: BTreeMap<String, String>,
    /// Of these, the ones that are published only if they are recommended.
    pub if_recommended: Vec<String>,
}

/// One candidate in the report: the results of its steps as they came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportCandidate {
    pub format: FormatSpec,
    pub baseline: bool,
    /// [`WriteResult`].
    pub quantize: Option<Value>,
    /// [`LoadCheckResult`].
    pub load_check: Option<Value>,
    /// Result of [`BenchSpec`].
    pub bench: Option<Value>,
    /// Result of [`EvaluateSpec`].
    pub evaluate: Option<Value>,
    /// Reference name to result of [`CompareSpec`].
    pub compare: BTreeMap<String, Value>,
    /// Step name to message, for steps that failed.
    pub failures: BTreeMap<String, String>,
    /// The log of this format's steps, to be copied beside the report.
    pub logs: Vec<Utf8PathBuf>,
    /// When the file was made.
    pub made: Option<MadeAt>,
}

/// One reference in the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportReference {
    pub name: String,
    pub gguf: Utf8PathBuf,
    /// Of the whole file, where it is known.
    pub sha256: Option<String>,
    /// When the job made the file; absent for one that it was given.
    pub made: Option<MadeAt>,
    /// Result of [`BenchSpec`].
    pub bench: Option<Value>,
}

/// Copy files to a directory and write their SHA-256 lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishSpec {
    pub files: Vec<PublishFile>,
    /// Format to the reason why nothing of it is published.
    pub left_out: BTreeMap<String, String>,
    pub to: Utf8PathBuf,
    /// Files that may stand in `to` and are none of `files`: those that earlier publications of the
    /// job put there, and those of the formats that are left out.
    pub others: Vec<Utf8PathBuf>,
    /// File of `sha256  path` lines, as `sha256sum -c` reads them.
    pub sha256_list: Option<Utf8PathBuf>,
}

/// A file to publish.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishFile {
    /// The format's name.
    pub format: String,
    /// The file as it was made.
    #[serde(flatten)]
    pub file: FileDigest,
    /// Whether it is known to be so still, because nothing has touched it since its digest was
    /// taken. If not, it is read.
    pub intact: bool,
    /// Whether the same is known of the file that has its name in the directory already.
    pub there: bool,
    /// What failed, where it is published all the same.
    pub although: Option<String>,
}

/// Result of [`PublishSpec`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishResult {
    pub files: Vec<PublishedFile>,
    /// Format to the reason why nothing of it is published.
    pub left_out: BTreeMap<String, String>,
    /// Files of earlier publications, and of formats that are left out, that stand in the directory.
    pub others: Vec<Utf8PathBuf>,
    /// Bytes that were written; what was there, or shares the blocks of its original, has none.
    pub written_bytes: u64,
    pub sha256_list: Option<FileDigest>,
}

/// A published file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// The format's name.
    pub format: String,
    /// The published file.
    #[serde(flatten)]
    pub file: FileDigest,
    pub made: PublishedBy,
    /// What failed, where it was published all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub although: Option<String>,
}

/// How a published file came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedBy {
    /// It shares its blocks with the original until one of the two is changed.
    Reflink,
    /// It has blocks of its own.
    Copy,
    /// It was there.
    AlreadyThere,
    /// It is the original: the directory is where quantize writes.
    InPlace,
}
