//! What a step's description says of files and of other steps. Each is a type of its own, so that the
//! key of a step, what it waits for and what is filled in before it starts follow from the description
//! itself: in JSON each is an object whose first key begins with `$`. Knows nothing of the graph.

use std::fmt;
use std::ops::Deref;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A file that a step reads; its digest goes into the step's key, its path does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Where it is; empty as long as the step that makes it has not ended.
    #[serde(rename = "$file")]
    pub path: Utf8PathBuf,
    /// The step that makes it; `None` for a file that is given.
    #[serde(rename = "$made_by", default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
}

impl FileRef {
    /// The file that the step `id` makes.
    pub fn made_by(id: impl Into<String>) -> Self {
        Self { path: Utf8PathBuf::new(), made_by: Some(id.into()) }
    }
}

/// A checkpoint's directory; the digests of its files go into the key, and its name, which the
/// converted file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDir {
    #[serde(rename = "$checkpoint")]
    pub path: Utf8PathBuf,
}

/// A tokenizer's directory; the digests of its files go into the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerDir {
    #[serde(rename = "$tokenizer")]
    pub path: Utf8PathBuf,
}

/// A model file that a step writes. Its place is not in the key: what is there already is held against
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Out {
    /// The file; before the step starts it may have `{timestamp}` in it.
    #[serde(rename = "$out")]
    pub path: Utf8PathBuf,
    /// Replace what is there.
    pub replace: bool,
}

/// A path that a step names or writes to and that its key holds, as it is seen from the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Before the step starts it may have `{timestamp}` in it.
    #[serde(rename = "$place")]
    pub path: Utf8PathBuf,
}

/// A file from outside that is named with its digest and not read: that it changes meanwhile spoils
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFile {
    #[serde(rename = "$named")]
    pub path: Utf8PathBuf,
    /// Its size; absent where it was changed while the job ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Of the whole file, in lower-case hexadecimal; absent where it was changed while the job ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// How another step ended; its result, or that it failed, goes into the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The step's id.
    #[serde(rename = "$step")]
    pub step: String,
    /// What it gave, if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Whether it did not run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Its last log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Utf8PathBuf>,
    /// When its success began, in ms since 1970, and how long it took in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<(i64, i64)>,
}

impl Ended {
    /// Of the step `id`, of which nothing is known yet.
    pub fn of(id: impl Into<String>) -> Self {
        Self { step: id.into(), ..Self::default() }
    }
}

/// What becomes of a format when its job publishes: its files, or why they are left out, go into the
/// key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseOf {
    /// The format's place in the manifest.
    #[serde(rename = "$published")]
    pub format: usize,
}

/// Something that changes no result: it is in no key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label<T> {
    #[serde(rename = "$label")]
    pub is: T,
}

impl<T> From<T> for Label<T> {
    fn from(is: T) -> Self {
        Self { is }
    }
}

impl<T: fmt::Display> fmt::Display for Label<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.is.fmt(f)
    }
}

impl From<&str> for Label<String> {
    fn from(is: &str) -> Self {
        Self { is: is.to_owned() }
    }
}

impl<T> Deref for Label<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.is
    }
}

/// The types that are a path and little more are used as one.
macro_rules! paths {
    ($($name:ident { $($other:ident: $value:expr),* })*) => {$(
        impl Deref for $name {
            type Target = Utf8PathBuf;

            fn deref(&self) -> &Utf8PathBuf {
                &self.path
            }
        }

        impl From<Utf8PathBuf> for $name {
            fn from(path: Utf8PathBuf) -> Self {
                Self { path, $($other: $value),* }
            }
        }

        impl From<&Utf8PathBuf> for $name {
            fn from(path: &Utf8PathBuf) -> Self {
                path.clone().into()
            }
        }

        impl From<&Utf8Path> for $name {
            fn from(path: &Utf8Path) -> Self {
                path.to_owned().into()
            }
        }

        impl From<&str> for $name {
            fn from(path: &str) -> Self {
                Utf8PathBuf::from(path).into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.path.fmt(f)
            }
        }

        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                self.path.as_ref()
            }
        }

        impl AsRef<Utf8Path> for $name {
            fn as_ref(&self) -> &Utf8Path {
                &self.path
            }
        }
    )*};
}

paths! {
    FileRef { made_by: None }
    CheckpointDir {}
    TokenizerDir {}
    Out { replace: false }
    Place {}
    NamedFile { bytes: None, sha256: None }
}

/// A file that candidates are held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceFile {
    /// Name as the manifest has it, or `unquantized`.
    pub name: String,
    pub gguf: FileRef,
}
