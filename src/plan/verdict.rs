//! Whether a step has to run, and why.

use std::fmt;

use bytesize::ByteSize;
use camino::Utf8PathBuf;
use serde::Serialize;

/// What is to be done about a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Its last success still holds.
    Fresh,
    /// It has to run.
    Stale { reasons: Vec<Reason> },
    /// Whether it has to run is not known until these steps have run.
    WaitsFor { steps: Vec<String> },
    /// It cannot run.
    Blocked { problems: Vec<String> },
}

impl Verdict {
    /// The first word of the verdict.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Fresh => "fresh",
            Verdict::Stale { .. } => "stale",
            Verdict::WaitsFor { .. } => "waits",
            Verdict::Blocked { .. } => "blocked",
        }
    }
}

/// Why a step has to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// No success is on record.
    NeverRun,
    /// Something that goes into it is not what it was.
    Changed { field: String, old: Option<String>, new: Option<String> },
    /// A file that it wrote is not there any more.
    Gone { path: Utf8PathBuf },
    /// A file that it wrote has been touched or changed since.
    Overwritten { path: Utf8PathBuf },
    /// Files whose digests are not known, and their bytes.
    Unverified { files: usize, bytes: u64 },
    /// The command line says so.
    Forced,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NeverRun => write!(f, "never run"),
            Reason::Changed { field, old, new } => {
                let [old, new] = [old, new].map(|value| short(value.as_deref(), "none"));
                write!(f, "{field}: {old} -> {new}")
            }
            Reason::Gone { path } => write!(f, "{path} is gone"),
            Reason::Overwritten { path } => write!(f, "{path} is not as it was left"),
            Reason::Unverified { files, bytes } => {
                let size = ByteSize(*bytes).display().si();
                let plural = if *files == 1 { "" } else { "s" };
                write!(f, "unverified, {size} to hash in {files} file{plural}")
            }
            Reason::Forced => write!(f, "forced"),
        }
    }
}

/// Digests by their first twelve digits; everything else whole, and `none` where there is nothing.
pub fn short<'t>(value: Option<&'t str>, none: &'t str) -> &'t str {
    match value {
        None => none,
        Some(v) if v.len() == 64 && v.bytes().all(|b| b.is_ascii_hexdigit()) => &v[..12],
        Some(v) => v,
    }
}
