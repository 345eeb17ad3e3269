//! The runner's side of a step's success: what the state has to hold before a worker starts, and what
//! is taken in from the outbox. Nobody else writes the database while a job runs.

use camino::{Utf8Path, Utf8PathBuf};

use super::order::{Claim, Record};
use super::outbox::{self, Delivery};
use crate::files::{FileDigest, Stamp};
use crate::state::{Action, Pending, State};
use crate::steps::{ErrorClass, Event, EventSink, Level, StepError};

/// Notes that the step of `record` is going to write `outs`, and removes what an interrupted attempt
/// left under other names, which nobody will continue.
///
/// # Errors
/// If the state cannot be read or written.
pub fn announce(
    state: &State,
    record: &Record,
    outs: &[Utf8PathBuf],
    events: &dyn EventSink,
) -> Result<(), StepError> {
    if outs.is_empty() {
        return Ok(());
    }
    let log = |level, message| events.emit(Event::Log { level, message });
    let pending = state.pending(record.owner(), &record.step)?;
    let old = pending.into_iter().flat_map(|pending| pending.outputs);
    for old in old.filter(|old| !outs.contains(old)) {
        match record.mark.remove_partial(&old) {
            Ok(true) => log(Level::Info, format!("removed the unfinished file of {old}")),
            Ok(false) => {}
            Err(e) => log(Level::Warn, format!("cannot remove the unfinished file of {old}: {e}")),
        }
    }
    state.set_pending(&Pending {
        job: record.job.clone(),
        manifest: record.manifest.clone(),
        step: record.step.clone(),
        key: record.key.clone(),
        outputs: outs.to_vec(),
    })?;
    Ok(())
}

/// Of the files under the names `outs` those that the records of this workspace know.
///
/// # Errors
/// [`ErrorClass::Host`] if one cannot be looked at, or the state not be read.
pub fn own_files(state: &State, outs: &[Utf8PathBuf]) -> Result<Vec<Claim>, StepError> {
    let mut own = Vec::new();
    for path in outs {
        let there = Stamp::of(path).map_err(|e| {
            StepError::new(ErrorClass::Host, format!("cannot look at {path}, to be written: {e}"))
        })?;
        let Some(stamp) = there else { continue };
        let Some(sha256) = state.digest(path, &stamp)? else { continue };
        let bytes = stamp.bytes;
        let file = FileDigest { path: path.clone(), bytes, sha256 };
        if state.wrote(&file)? {
            let FileDigest { path, bytes, sha256 } = file;
            own.push(Claim { path, bytes, sha256: Some(sha256), stamp: Some(stamp) });
        }
    }
    Ok(own)
}

/// Takes in all that workers delivered which outlived their runners.
///
/// # Errors
/// If the state cannot be written.
pub fn take_in_all(state: &State, workspace: &Utf8Path) -> Result<(), StepError> {
    for path in outbox::waiting(workspace) {
        take_in(state, workspace, &path)?;
    }
    Ok(())
}

/// Takes in what was delivered at `path`, if anything was.
///
/// # Errors
/// If the state cannot be written.
pub fn take_in(state: &State, workspace: &Utf8Path, path: &Utf8Path) -> Result<(), StepError> {
    // One that was made where the workspace stood before names files that are not there any more.
    if let Some(delivery) = Delivery::read(path).filter(|d| d.record.workspace == workspace) {
        record(state, delivery)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StepError::new(
            ErrorClass::Host,
            format!("cannot remove {path}, which is recorded: {e}"),
        )),
        _ => Ok(()),
    }
}

fn record(state: &State, delivery: Delivery) -> Result<(), StepError> {
    let Delivery { record, result, outputs, hashed, started_ms, duration_ms, peak_rss_bytes } =
        delivery;
    for stamped in outputs.iter().chain(&hashed) {
        if let Some(stamp) = &stamped.stamp {
            // Says nothing of a file that has changed since.
            state.record_digest(&stamped.file.path, stamp, &stamped.file.sha256)?;
        }
    }
    state.record_action(&Action {
        job: record.job,
        manifest: record.manifest,
        step: record.step,
        key: record.key,
        ingredients: record.ingredients,
        outputs: outputs.into_iter().map(|stamped| stamped.file).collect(),
        result,
        result_sha256: String::new(),
        started_ms,
        duration_ms,
        peak_rss_bytes: peak_rss_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
    })?;
    Ok(())
}
