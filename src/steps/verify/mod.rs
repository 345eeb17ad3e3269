//! Verify: hashes a checkpoint's files and holds them against what is expected.

mod spec;

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{Context, StepError, Unit};
use crate::files::FileDigest;

pub use spec::{VerifyResult, VerifySpec};

/// Does the step. Files are hashed side by side, each by one thread.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a file is missing, cannot be read or
/// is not what its digest says; all of them are named.
pub fn run(spec: &VerifySpec, ctx: &Context<'_>) -> Result<VerifyResult, StepError> {
    let paths: Vec<Utf8PathBuf> = spec.files.keys().map(|n| spec.directory.join(n)).collect();
    let mut total = 0;
    for path in &paths {
        total += size(path)?;
    }
    let hashed = Hashed { ctx, done: AtomicU64::new(0), total };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(ctx.threads)
        .build()
        .map_err(|e| StepError::host(format!("cannot start threads: {e}")))?;
    let files: Vec<Result<FileDigest, StepError>> =
        pool.install(|| paths.par_iter().map(|path| hashed.file(path)).collect());
    let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;

    let wrong: Vec<String> = files
        .iter()
        .zip(spec.files.values())
        .filter_map(|(file, expected)| {
            let expected = expected.as_ref()?;
            let same = expected.eq_ignore_ascii_case(&file.sha256);
            (!same).then(|| {
                format!("{}: expected SHA-256 {expected}, found {}", file.path, file.sha256)
            })
        })
        .collect();
    if !wrong.is_empty() {
        return Err(StepError::input(format!(
            "{}\ndownload it again; if it was meant to change, `qrun run --accept-inputs` takes it \
            into the job's lock, and a digest in the manifest itself has to be corrected there",
            wrong.join("\n")
        )));
    }
    Ok(VerifyResult { files })
}

fn size(path: &Utf8Path) -> Result<u64, StepError> {
    match fs::metadata(path) {
        Ok(m) if m.is_file() => Ok(m.len()),
        Ok(_) => Err(StepError::input(format!("{path} is not a file"))),
        Err(e) => Err(StepError::unreadable(path, &e)),
    }
}

/// Progress over all files.
struct Hashed<'a> {
    ctx: &'a Context<'a>,
    done: AtomicU64,
    total: u64,
}

impl Hashed<'_> {
    fn file(&self, path: &Utf8Path) -> Result<FileDigest, StepError> {
        let (mut hasher, mut bytes) = (Sha256::new(), 0);
        self.ctx.read(path, |piece| {
            hasher.update(piece);
            bytes += piece.len() as u64;
            let before = self.done.fetch_add(piece.len() as u64, Ordering::Relaxed);
            self.ctx.progress(before + piece.len() as u64, self.total, Unit::Bytes);
            Ok(())
        })?;
        let sha256 = hex::encode(hasher.finalize());
        Ok(FileDigest { path: path.to_owned(), bytes, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::steps::ErrorClass;
    use crate::steps::testing::{Recorder, context};

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn spec(files: &[(&str, Option<&str>)]) -> (tempfile::TempDir, VerifySpec) {
        let guard = tempfile::tempdir().unwrap();
        let directory = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        fs::write(directory.join("abc"), "abc").unwrap();
        fs::write(directory.join("empty"), "").unwrap();
        let owned = |(n, d): &(&str, Option<&str>)| (n.to_string(), d.map(str::to_owned));
        let files: BTreeMap<_, _> = files.iter().map(owned).collect();
        (guard, VerifySpec { directory: directory.into(), files: files.into() })
    }

    #[test]
    fn files_are_hashed_in_order() {
        let (_guard, spec) = spec(&[("empty", None), ("abc", Some(&ABC.to_uppercase()))]);
        let result = run(&spec, &context(&Recorder::new())).unwrap();
        let found: Vec<_> = result.files.iter().map(|f| (f.bytes, f.sha256.as_str())).collect();
        assert_eq!(found, [(3, ABC), (0, EMPTY)]);
    }

    #[test]
    fn a_wrong_digest_names_file_expected_and_found() {
        let (_guard, spec) = spec(&[("empty", Some(ABC)), ("abc", Some(ABC))]);
        let error = run(&spec, &context(&Recorder::new())).unwrap_err();
        assert_eq!(error.class, ErrorClass::Input);
        let expected = format!("{}/empty: expected SHA-256 {ABC}, found {EMPTY}", *spec.directory);
        assert!(error.message.starts_with(&expected), "{error}");
        assert!(!error.message.contains("/abc:"), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_input_error() {
        let (_guard, spec) = spec(&[("nothing", None)]);
        let error = run(&spec, &context(&Recorder::new())).unwrap_err();
        assert_eq!(error.class, ErrorClass::Input);
        assert!(error.message.contains("nothing: No such file"), "{error}");
    }

    #[test]
    fn stops_when_told() {
        let (_guard, spec) = spec(&[("abc", None)]);
        let (recorder, cancelled) = (Recorder::new(), AtomicBool::new(true));
        let ctx = Context { cancelled: &cancelled, ..context(&recorder) };
        assert_eq!(run(&spec, &ctx).unwrap_err().class, ErrorClass::Interrupted);
    }
}
