//! The description of verify, and its result.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::FileDigest;
use crate::steps::{Effects, Kind, Label, Step, StepError};

/// Hash the checkpoint's files and hold them against what is expected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifySpec {
    /// Directory the names are relative to.
    pub directory: Label<Utf8PathBuf>,
    /// File name to expected SHA-256; `None` where none is known yet. The step has no key: what is
    /// known of each file is remembered with that file.
    pub files: Label<BTreeMap<String, Option<String>>>,
}

/// Result of [`VerifySpec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifyResult {
    /// Every file named in the specification, in that order.
    pub files: Vec<FileDigest>,
}

impl VerifySpec {
    /// What all verify steps have in common.
    pub const KIND: Kind = Kind::new("verify", 1);
}

impl Step for VerifySpec {
    fn hashes(&self) -> Vec<Utf8PathBuf> {
        self.files.keys().map(|name| self.directory.join(name)).collect()
    }

    fn effects(&self, result: &Value) -> Result<Effects, StepError> {
        let VerifyResult { files: hashed } = Self::KIND.read(result)?;
        Ok(Effects { hashed, ..Effects::default() })
    }
}
