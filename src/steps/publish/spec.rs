//! The description of a publication, and its result.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::FileDigest;
use crate::steps::{Effects, Kind, Label, Load, Place, ReleaseOf, Step, StepError};

/// Copy files to a directory and write their SHA-256 lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishSpec {
    /// The formats that may be published: what becomes of them decides on the other fields.
    #[serde(default)]
    pub formats: Vec<ReleaseOf>,
    pub files: Label<Vec<FileToPublish>>,
    /// Format to the reason why nothing of it is published.
    pub left_out: Label<BTreeMap<String, String>>,
    pub to: Place,
    /// Files that may stand in `to` and are none of `files`: those that earlier publications of the
    /// job put there, and those of the formats that are left out.
    pub others: Label<Vec<Utf8PathBuf>>,
    /// File of `sha256  path` lines, as `sha256sum -c` reads them.
    pub sha256_list: Option<Place>,
}

/// A file to publish.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileToPublish {
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
    pub made: Arrival,
    /// What failed, where it was published all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub although: Option<String>,
}

/// How a published file came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// It shares its blocks with the original until one of the two is changed.
    Reflink,
    /// It has blocks of its own.
    Copy,
    /// It was there.
    AlreadyThere,
    /// It is the original: the directory is where quantize writes.
    InPlace,
}

impl PublishSpec {
    /// What all publish steps have in common.
    // 2: says how each file came to its place, and what was left out.
    pub const KIND: Kind = Kind::new("publish", 2).load(Load::Light);
}

impl Step for PublishSpec {
    fn effects(&self, result: &Value) -> Result<Effects, StepError> {
        let result: PublishResult = Self::KIND.read(result)?;
        let remark = Some(result.to_string());
        // A copy was held against its digest while it was made; a reflink was not read.
        let unread = result.files.iter().filter(|file| file.made == Arrival::Reflink);
        let made_of_inputs = unread.map(|published| published.file.path.clone()).collect();
        let written_bytes = result.written_bytes;
        let files = result.files.into_iter().map(|published| published.file);
        let outputs = files.chain(result.sha256_list).collect();
        Ok(Effects { made_of_inputs, written_bytes, remark, ..Effects::of(outputs) })
    }
}
