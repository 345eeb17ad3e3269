//! The manifest: the TOML as typed, and the job resolved from it once. Knows nothing of what is
//! done with it.

mod diagnostic;
mod files;
mod job;
mod keys;
pub mod lock;
mod path_text;
mod raw;
mod resolve;
mod template;

use std::fs::File;
use std::io::{self, Read};

use camino::Utf8Path;
use serde_json::Value;
use toml::de::DeTable;

pub use diagnostic::{Invalid, ManifestError, Problem};
pub use job::*;
pub use path_text::{NotAPath, check as check_path};

use diagnostic::Problems;

/// Bytes of a manifest or lock file at most.
const LARGEST: u64 = 16 << 20;

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
    if !errors.is_empty() {
        errors.iter().for_each(|e| problems.add_toml(e));
        return Err(problems.into_error(shown, text));
    }
    keys::check(table.get_ref(), &schema(), &mut problems);
    let job = match toml::from_str::<raw::Manifest>(text) {
        Ok(manifest) => Some(resolve::resolve(manifest, absolute, &mut problems)),
        Err(e) => {
            problems.add_toml(&e);
            None
        }
    };
    match job {
        Some(job) if problems.is_empty() => Ok(job),
        _ => Err(problems.into_error(shown, text)),
    }
}

/// The JSON schema of a manifest.
pub fn schema() -> Value {
    schemars::schema_for!(raw::Manifest).to_value()
}

/// A text file of at most [`LARGEST`] bytes.
fn read_text(path: &Utf8Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        let message = format!("larger than {} MB; this is no manifest", LARGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
