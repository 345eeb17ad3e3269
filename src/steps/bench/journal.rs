//! The finished runs of a benchmark that was stopped, so that the next one goes on from there.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RunSample;
use crate::files::{self, Stamp, program};
use crate::host::rss::Usage;
use crate::steps::model_source::model_files;
use crate::steps::{BenchSpec, StepError};

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
    open: Option<files::Journal>,
}

impl Conditions {
    /// The conditions of a benchmark that starts now.
    ///
    /// # Errors
    /// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if the file cannot be looked at.
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

/// What the files of a model are now. Of one that cannot be read as a model only what it is itself:
/// what is wrong with it is the benchmark's own error.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a file cannot be looked at.
pub(super) fn stamps(gguf: &Utf8Path) -> Result<Vec<Stamp>, StepError> {
    let files = model_files(gguf).unwrap_or_else(|_| vec![gguf.to_owned()]);
    let stamp =
        |path: Utf8PathBuf| Stamp::of_input(&path).map_err(|e| StepError::unreadable(&path, &e));
    files.into_iter().map(stamp).collect()
}

impl Journal {
    /// Opens the journal of the file in `directory`, and the runs that count under `conditions`.
    ///
    /// # Errors
    /// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if the journal cannot be written.
    pub fn open(
        directory: Option<&Utf8Path>,
        conditions: &Conditions,
    ) -> Result<(Self, Vec<FinishedRun>), StepError> {
        let Some(directory) = directory else {
            return Ok((Self { open: None }, Vec::new()));
        };
        let digest = Sha256::digest(conditions.spec.gguf.as_str());
        let path = directory.join(format!("bench-{}.jsonl", hex::encode(&digest[..12])));
        let runs = files::Journal::entries(&path, conditions);
        let journal = files::Journal::start(&path, conditions, &runs);
        let journal = journal.map_err(|e| cannot_write(&path, &e))?;
        Ok((Self { open: Some(journal) }, runs))
    }

    /// Keeps a finished run.
    ///
    /// # Errors
    /// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if the journal cannot be written.
    pub fn keep(&mut self, run: &FinishedRun) -> Result<(), StepError> {
        let Some(journal) = &mut self.open else { return Ok(()) };
        journal.append(std::slice::from_ref(run)).map_err(|e| cannot_write(journal.path(), &e))
    }

    /// Removes the journal: the result stands for its runs now.
    pub fn remove(self) {
        if let Some(journal) = self.open {
            journal.remove();
        }
    }
}

fn cannot_write(path: &Utf8Path, error: &std::io::Error) -> StepError {
    StepError::host(format!("cannot write the journal {path}: {error}"))
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
}
