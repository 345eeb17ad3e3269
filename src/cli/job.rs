//! What the commands about a job share: its manifest, its plan, its workspace.

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::direct::Threads;
use super::{CliError, output};
use crate::files::{HashWriter, program};
use crate::host::HostFacts;
use crate::manifest::Job;
use crate::plan::{Machine, Plan, UnknownStep};
use crate::state::{self, Owner, State, StateError};
use crate::steps::{ErrorClass, StepError};

/// Reads a manifest.
pub fn load(manifest: &Utf8Path) -> Result<Job, CliError> {
    Job::load(manifest).map_err(|error| CliError::diagnostic(ErrorClass::Usage, error))
}

/// Plans `job` for a run with `threads` threads, over a state that is open for writing (`Some`) or,
/// changing nothing, over what the workspace remembers.
pub fn plan(job: Job, state: Option<State>, threads: Threads) -> Result<Plan, CliError> {
    let state = match state {
        Some(state) => Some(state),
        None => match State::open_read_only(&job.workspace) {
            Err(error @ (StateError::Damaged { .. } | StateError::Newer { .. })) => {
                output::note(&format!("warning: {error}"));
                None
            }
            other => other?,
        },
    };
    // A measurement with fewer threads is another measurement.
    let host = HostFacts { threads: threads.count(), ..HostFacts::gather() };
    let program = program_sha256(state.as_ref())?;
    Ok(Plan::new(job, state, Machine { host, program })?)
}

/// The SHA-256 of this program: as the state remembers it, or by reading it.
fn program_sha256(state: Option<&State>) -> Result<String, CliError> {
    let host = |e: std::io::Error| CliError::host(format!("cannot read the program itself: {e}"));
    // Of the program that runs, not of what may stand under its name by now; it is remembered by its
    // name, though.
    let path = Utf8PathBuf::from_path_buf(program::path().map_err(host)?).ok();
    let known = path.zip(program::stamp());
    if let (Some(state), Some((path, stamp))) = (state, &known)
        && let Some(sha256) = state.digest(path, stamp)?
    {
        return Ok(sha256);
    }
    let mut file = std::fs::File::open(program::itself().map_err(host)?).map_err(host)?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(host)?;
    let sha256 = hex::encode(hasher.finalize());
    if let (Some(state), Some((path, stamp))) = (state.filter(|s| s.is_writable()), &known) {
        state.record_digest(path, stamp, &sha256)?;
    }
    Ok(sha256)
}

/// `path` as it is shortest from the current directory.
pub fn shown(path: &Utf8Path) -> &Utf8Path {
    let here = std::env::current_dir().ok().and_then(|d| Utf8PathBuf::from_path_buf(d).ok());
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

/// What a workspace remembers, for the commands that look back: the workspace of `manifest`, or,
/// without one, the nearest directory from here upwards that has a state.
///
/// # Errors
/// If there is no state.
pub fn look_back(manifest: Option<&Utf8Path>) -> Result<(State, Option<Job>), CliError> {
    let (workspace, job) = match manifest {
        Some(manifest) => {
            let job = load(manifest)?;
            (job.workspace.clone(), Some(job))
        }
        None => (nearest_workspace()?, None),
    };
    match State::open_read_only(&workspace)? {
        Some(state) => Ok((state, job)),
        None => Err(CliError::input(format!(
            "nothing has run in {workspace} yet: {} is not there",
            state::directory(&workspace)
        ))),
    }
}

/// Whose steps those of `job` are.
pub fn owner(job: &Job) -> Owner<'_> {
    Owner { job: &job.name, manifest: &job.manifest }
}

/// The nearest directory from here upwards that has a state.
pub fn nearest_workspace() -> Result<Utf8PathBuf, CliError> {
    let here = camino::absolute_utf8(Utf8Path::new("."))
        .map_err(|e| CliError::input(format!("cannot find out which directory this is: {e}")))?;
    here.ancestors()
        .find(|directory| state::directory(directory).is_dir())
        .map(Utf8Path::to_owned)
        .ok_or_else(|| {
            CliError::input(format!(
                "neither {here} nor a directory above it has a .qrun; name the manifest"
            ))
        })
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        StepError::from(error).into()
    }
}

impl From<UnknownStep> for CliError {
    fn from(error: UnknownStep) -> Self {
        CliError::usage(error.to_string())
    }
}
