//! The finished runs of a benchmark that was stopped, so that the next one goes on from there.
//!
//! One JSON line per fact: first what the runs belong to, then one line per run, appended and
//! flushed when it ends. A torn or foreign line ends what is believed; it is never an error.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RunSample;
use crate::files::{Stamp, program};
use crate::metrics::rss::Usage;
use crate::steps::model_source::model_files;
use crate::steps::{BenchSpec, ErrorClass, StepError};

/// What runs belong to: only under the very same conditions do they count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    spec: BenchSpec,
    threads: usize,
    /// Of each file that the model is in.
    files: Vec<Stamp>,
    /// Differs after every start of the machine; empty where the system does not tell.
    boot: String,
    /// Of qrun itself; absent where the system does not tell.
    program: Option<Stamp>,
}

/// One finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedRun {
    pub sample: RunSample,
    pub generated: Vec<u32>,
    /// What the process and the machine did meanwhile; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The processors' clocks at its end; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<f64>,
}

/// The journal of one benchmark; without a directory it keeps nothing.
#[derive(Debug)]
pub struct Journal {
    open: Option<(Utf8PathBuf, File)>,
}

impl Conditions {
    /// The conditions of a benchmark that starts now.
    ///
    /// # Errors
    /// [`ErrorClass::Input`] if the file cannot be looked at.
    pub fn now(spec: &BenchSpec, threads: usize) -> Result<Self, StepError> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            spec: spec.clone(),
            threads,
            files: stamps(&spec.gguf)?,
            boot: boot.trim().to_owned(),
            program: program::stamp(),
        })
    }
}

/// What the files of a model are now. Of one that cannot be read as a model only what it is itself: what is
/// wrong with it is the benchmark's own error.
///
/// # Errors
/// [`ErrorClass::Input`] if a file cannot be looked at.
pub(super) fn stamps(gguf: &Utf8Path) -> Result<Vec<Stamp>, StepError> {
    let files = model_files(gguf).unwrap_or_else(|_| vec![gguf.to_owned()]);
    let stamp = |path: Utf8PathBuf| {
        Stamp::of_input(&path)
            .map_err(|e| StepError::new(ErrorClass::Input, format!("cannot read {path}: {e}")))
    };
    files.into_iter().map(stamp).collect()
}

impl Journal {
    /// Opens the journal of the file in `directory`, and the runs that count under `conditions`.
    ///
    /// # Errors
    /// [`ErrorClass::Host`] if the journal cannot be written.
    pub fn open(
        directory: Option<&Utf8Path>,
        conditions: &Conditions,
    ) -> Result<(Self, Vec<FinishedRun>), StepError> {
        let Some(directory) = directory else {
            return Ok((Self { open: None }, Vec::new()));
        };
        let digest = Sha256::digest(conditions.spec.gguf.as_str());
        let path = directory.join(format!("bench-{}.jsonl", hex::encode(&digest[..12])));
        let runs = fs::read_to_string(&path).map_or(Vec::new(), |text| finished(&text, conditions));
        let open = || -> std::io::Result<File> {
            fs::create_dir_all(directory)?;
            // Written anew without what is not believed.
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            append(&mut file, conditions)?;
            for run in &runs {
                append(&mut file, run)?;
            }
            Ok(file)
        };
        let file = open().map_err(|e| cannot_write(&path, &e))?;
        Ok((Self { open: Some((path, file)) }, runs))
    }

    /// Keeps a finished run.
    ///
    /// # Errors
    /// [`ErrorClass::Host`] if the journal cannot be written.
    pub fn keep(&mut self, run: &FinishedRun) -> Result<(), StepError> {
        match &mut self.open {
            Some((path, file)) => append(file, run).map_err(|e| cannot_write(path, &e)),
            None => Ok(()),
        }
    }

    /// Removes the journal: the result stands for its runs now.
    pub fn remove(self) {
        if let Some((path, _)) = self.open {
            // Left behind it costs the next benchmark nothing but a look at its conditions.
            let _ = fs::remove_file(path);
        }
    }
}

/// The runs in a journal's text that count under `conditions`.
fn finished(text: &str, conditions: &Conditions) -> Vec<FinishedRun> {
    let mut lines = text.lines();
    let same = lines
        .next()
        .and_then(|line| serde_json::from_str::<Conditions>(line).ok())
        .is_some_and(|found| found == *conditions);
    if !same {
        return Vec::new();
    }
    lines.map_while(|line| serde_json::from_str(line).ok()).collect()
}

fn append(file: &mut File, value: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

fn cannot_write(path: &Utf8Path, error: &std::io::Error) -> StepError {
    StepError::new(ErrorClass::Host, format!("cannot write the journal {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ms: f64) -> FinishedRun {
        let sample = RunSample {
            latency_ms: ms,
            time_to_first_token_ms: ms / 3.0,
            inter_token_latency_ms: vec![ms / 7.0],
            minor_faults: None,
            major_faults: None,
        };
        FinishedRun { sample, generated: vec![1, 2], usage: None, clock_mhz: Some(ms) }
    }

    fn conditions(runs: u32) -> Conditions {
        Conditions {
            spec: BenchSpec {
                gguf: "x.gguf".into(),
                warmups: 1,
                runs,
                prompt_tokens: 4,
                generate_tokens: 2,
                kv_cache: None,
            },
            threads: 2,
            files: vec![Stamp {
                bytes: 7,
                mtime_ns: 1_700_000_000_123_456_789,
                ctime_ns: 5,
                inode: 3,
                device: 4,
            }],
            boot: "b".to_owned(),
            program: None,
        }
    }

    #[test]
    fn runs_are_found_again_under_the_same_conditions_only() {
        let guard = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(guard.path()).unwrap();
        let (mut journal, runs) = Journal::open(Some(dir), &conditions(5)).unwrap();
        assert_eq!(runs, []);
        let kept = [FinishedRun { usage: Usage::now(), ..run(10.1) }, run(20.2)];
        kept.iter().for_each(|run| journal.keep(run).unwrap());
        drop(journal);

        let (_, runs) = Journal::open(Some(dir), &conditions(5)).unwrap();
        assert_eq!(runs, kept);
        let (journal, runs) = Journal::open(Some(dir), &conditions(6)).unwrap();
        assert_eq!(runs, []);
        journal.remove();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_or_foreign_line_ends_what_is_believed() {
        let header = serde_json::to_string(&conditions(5)).unwrap();
        let one = serde_json::to_string(&run(1.5)).unwrap();
        for tail in ["{\"sample\":{\"late", "\u{0}\u{0}", "[]"] {
            let text = format!("{header}\n{one}\n{tail}\n{one}\n");
            assert_eq!(finished(&text, &conditions(5)), [run(1.5)]);
        }
        assert_eq!(finished("", &conditions(5)), []);
    }
}
