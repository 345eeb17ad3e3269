//! The lock file beside a manifest: SHA-256 of each checkpoint file, as the first run saw it.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::diagnostic::{ManifestError, Problems};
use super::resolve::is_sha256;
use super::text::read_text;
use crate::files::write_atomic;
use crate::steps::StepError;

const HEADER: &str = "\
# Digests of the checkpoint's files as qrun first saw them. Keep this file in version control.
# A file that changed is refused; `qrun run --accept-inputs` takes all of them as they are now.
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    schema: Spanned<u32>,
    #[serde(default)]
    sha256: BTreeMap<String, Spanned<String>>,
}

#[derive(Serialize)]
struct Written<'a> {
    schema: u32,
    sha256: &'a BTreeMap<String, String>,
}

/// Reads file names and their digests from the lock file; none where there is no file.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn read(path: &Utf8Path) -> Result<BTreeMap<String, String>, ManifestError> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => {
            let help = "make it readable, or move it away to pin the checkpoint anew";
            return Err(ManifestError::Read { path: path.to_owned(), help, source });
        }
    };
    let mut problems = Problems::default();
    let help = || Some("restore the file, or delete it to pin the checkpoint anew".to_owned());
    let lock: Read = match toml::from_str(&text) {
        Ok(lock) => lock,
        Err(e) => {
            problems.add(e.span().unwrap_or(0..0), e.message(), "here", help());
            return Err(problems.into_error(path, &text));
        }
    };
    if *lock.schema.get_ref() != 1 {
        let found = lock.schema.get_ref();
        let message = format!("lock files of schema 1 are known, this is one of {found}");
        problems.add(lock.schema.span(), message, "here", help());
    }
    for digest in lock.sha256.values().filter(|digest| !is_sha256(digest.get_ref())) {
        problems.add(digest.span(), "a SHA-256 has 64 hexadecimal digits", "here", help());
    }
    if !problems.is_empty() {
        return Err(problems.into_error(path, &text));
    }
    Ok(lock.sha256.into_iter().map(|(k, v)| (k, v.into_inner().to_lowercase())).collect())
}

/// Writes the lock file, whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Utf8Path, sha256: &BTreeMap<String, String>) -> Result<(), StepError> {
    let body = toml::to_string(&Written { schema: 1, sha256 })
        .map_err(|e| StepError::from_error(crate::steps::ErrorClass::Step, &e))?;
    write_atomic(path, format!("{HEADER}\n{body}").as_bytes(), true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap().join("job.lock");
        assert_eq!(read(&path).unwrap(), BTreeMap::new());
        let digests =
            BTreeMap::from([("model-00001 of 2.safetensors".to_owned(), "ab".repeat(32))]);
        write(&path, &digests).unwrap();
        assert_eq!(read(&path).unwrap(), digests);
        write(&path, &BTreeMap::new()).unwrap();
        assert_eq!(read(&path).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_damaged_lock_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap().join("job.lock");
        for text in ["schema = 1\n[sha256]\n\"a\" = \"12\"", "schema = 2", "schema = 1\n[sha2", ""]
        {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(ManifestError::Invalid(_))), "{text}");
        }
    }
}
