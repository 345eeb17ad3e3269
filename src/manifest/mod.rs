//! The manifest: the TOML as typed, and the job resolved from it once. Knows the words of
//! steps' descriptions, and nothing of what is done with them.

mod diagnostic;
mod escape;
mod files;
mod job;
mod keys;
pub mod lock;
mod names;
mod path_text;
mod raw;
mod resolve;
mod template;
mod text;

use camino::Utf8Path;
use serde_json::Value;
use sha2::{Digest, Sha256};
use toml::de::DeTable;

pub use diagnostic::{Invalid, ManifestError, Problem};
pub use job::*;
pub use path_text::{NotAPath, check as check_path};

use diagnostic::Problems;
use text::read_text;

/// Keys that every manifest has.
const REQUIRED: [&str; 3] = ["schema", "name", "input"];

impl Job {
    /// Reads the manifest at `path` and its lock file.
    ///
    /// # Errors
    /// If either cannot be read, or for everything that is wrong with it.
    pub fn load(path: &Utf8Path) -> Result<Self, ManifestError> {
        let failed = |source| ManifestError::Read {
            path: path.to_owned(),
            help: "name a job's manifest, for example `qrun jobs/gpt-oss-nano.toml`",
            source,
        };
        let text = read_text(path).map_err(failed)?;
        let absolute = camino::absolute_utf8(path).map_err(failed)?;
        let mut job = parse(&text, path, &absolute)?;
        job.input.pinned = lock::read(&job.lock)?;
        Ok(job)
    }
}

/// The job in `text`, which stands in the file that the user called `shown` and that is at
/// `absolute`. The lock file is not read.
fn parse(text: &str, shown: &Utf8Path, absolute: &Utf8Path) -> Result<Job, ManifestError> {
    let mut problems = Problems::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !REQUIRED.iter().any(|key| table.get_ref().contains_key(*key)) {
        problems.add_no_manifest(errors.first());
        return Err(problems.into_error(shown, text));
    }
    if !errors.is_empty() {
        errors.iter().for_each(|e| problems.add_toml(e, text));
        return Err(problems.into_error(shown, text));
    }
    keys::check(table.get_ref(), &schema(), &mut problems);
    let job = match toml::from_str::<raw::Manifest>(text) {
        Ok(manifest) => Some(resolve::resolve(manifest, absolute, &mut problems)),
        Err(e) => {
            problems.add_toml(&e, text);
            None
        }
    };
    match job {
        Some(job) if problems.is_empty() => Ok(Job {
            manifest_bytes: text.len() as u64,
            manifest_sha256: hex::encode(Sha256::digest(text)),
            ..job
        }),
        _ => Err(problems.into_error(shown, text)),
    }
}

/// The JSON schema of a manifest.
pub fn schema() -> Value {
    schemars::schema_for!(raw::Manifest).to_value()
}

#[cfg(test)]
mod tests;
