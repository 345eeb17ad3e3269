//! The description of a report.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReportResult;
use crate::steps::{Effects, Ended, FormatSpec, Kind, Load, NamedFile, Place, Step, StepError};

/// Write the JSON, the report and the recommendation from other steps' results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportSpec {
    pub job: String,
    /// The command to show in the report.
    pub command: String,
    /// The program's version, which the report names.
    pub qrun_version: String,
    /// The step that wrote the unquantized file, for what it warned of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convert: Option<Ended>,
    /// In manifest order.
    pub candidates: Vec<ReportCandidate>,
    pub references: Vec<ReportReference>,
    /// Benchmark JSON, `bench_results_full.json`.
    pub bench_json: Place,
    /// Directory for `README-<job>.md`, a copy of the JSON and the logs.
    pub dir: Place,
    /// References that are not required and not there: name to path.
    pub missing_references: BTreeMap<String, Place>,
    /// The manifest, and the files from outside that the job reads.
    pub made_from: Vec<MadeFrom>,
    /// The checkpoint's directory.
    pub checkpoint: Place,
    /// What is going to be published; absent where the job publishes nothing.
    pub publish: Option<ReportPublish>,
}

/// One candidate in the report, and how its steps ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportCandidate {
    pub name: String,
    pub format: FormatSpec,
    pub baseline: bool,
    pub quantize: Ended,
    pub load_check: Ended,
    pub bench: Ended,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<Ended>,
    /// By the reference's name.
    pub compare: BTreeMap<String, Ended>,
}

impl ReportCandidate {
    /// How its steps ended, in the order in which they stand in a job.
    pub fn steps(&self) -> impl Iterator<Item = &Ended> + Clone {
        [&self.quantize, &self.load_check, &self.bench]
            .into_iter()
            .chain(&self.evaluate)
            .chain(self.compare.values())
    }
}

/// One reference in the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportReference {
    pub name: String,
    pub gguf: Place,
    /// The file, where it is given, and is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<NamedFile>,
    /// The step that made it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<Ended>,
    pub bench: Ended,
}

/// What a job is going to publish once its report is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPublish {
    pub to: Place,
    /// Formats that may be published.
    pub formats: Vec<String>,
    /// Of these, the ones that are published only if they are recommended.
    pub if_recommended: Vec<String>,
    /// Whether a format with a failed step is published all the same.
    pub failed_too: bool,
}

/// An [`InputFile`] whose digest goes into the report's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFrom {
    /// What it is to the job: a key of the manifest, in a directory with the file's name; or
    /// `manifest`.
    pub name: String,
    pub file: NamedFile,
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

impl ReportSpec {
    /// What all report steps have in common.
    pub const KIND: Kind = Kind::new("report", 1).load(Load::Light);
}

impl Step for ReportSpec {
    fn effects(&self, result: &Value) -> Result<Effects, StepError> {
        let ReportResult { markdown, json, logs, .. } = Self::KIND.read(result)?;
        Ok(Effects::of([vec![markdown], json, logs].concat()))
    }
}
