//! A directory in which `qrun` is run as a user runs it.

use assert_cmd::Command;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

/// A directory that goes with its test.
pub struct Place {
    _guard: tempfile::TempDir,
    pub directory: Utf8PathBuf,
}

/// What became of a run.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The nano checkpoint.
pub fn nano() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt-oss-nano")
}

impl Place {
    pub fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let directory = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        Self { _guard: guard, directory }
    }

    pub fn qrun(&self, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_qrun"))
            .current_dir(&self.directory)
            .env("NO_COLOR", "1")
            .args(args)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Ran { code: output.status.code().unwrap(), out, err }
    }

    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let ran = self.qrun(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        ran.out
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[args, &["--json"]].concat())).unwrap()
    }

    /// Runs what must fail with `code`, and say `parts`.
    #[track_caller]
    pub fn fails(&self, args: &[&str], code: i32, parts: &[&str]) {
        let ran = self.qrun(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{part:?} is not in: {}", ran.err);
        }
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
}
