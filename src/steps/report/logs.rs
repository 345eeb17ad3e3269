//! One log per format beside the report: the logs of its steps, one after the other.

use std::fs;

use crate::files::{FileDigest, write_atomic};
use crate::steps::{Context, Level, ReportSpec, StepError};

/// Most bytes taken from one step's log: its end, where the reason of a failure stands.
const LONGEST: usize = 16 << 20;

/// Writes `<job>-<format>.log` for every format that has logs.
///
/// A log that is not there any more is named in its place and is no failure.
///
/// # Errors
/// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if a file cannot be written.
pub fn write(spec: &ReportSpec, ctx: &Context<'_>) -> Result<Vec<FileDigest>, StepError> {
    let mut written = Vec::new();
    for candidate in &spec.candidates {
        let mut logs = candidate.steps().filter_map(|ended| ended.log.as_ref()).peekable();
        if logs.peek().is_none() {
            continue;
        }
        let mut text = Vec::new();
        for log in logs {
            let name = log.file_name().unwrap_or(log.as_str());
            text.extend_from_slice(format!("==> {name} <==\n").as_bytes());
            match fs::read(log) {
                Ok(bytes) => {
                    let left_out = bytes.len().saturating_sub(LONGEST);
                    if left_out > 0 {
                        let note = format!("(the first {left_out} bytes are left out)\n");
                        text.extend_from_slice(note.as_bytes());
                    }
                    text.extend_from_slice(&bytes[left_out..]);
                    if !bytes.ends_with(b"\n") && !bytes.is_empty() {
                        text.push(b'\n');
                    }
                }
                Err(e) => {
                    ctx.log(Level::Warn, format!("cannot read the log {log}: {e}"));
                    text.extend_from_slice(format!("(cannot be read: {e})\n").as_bytes());
                }
            }
            text.push(b'\n');
        }
        let name = format!("{}-{}.log", spec.job, candidate.name.replace('/', "_"));
        written.push(write_atomic(&spec.dir.join(name), &text, true)?);
    }
    Ok(written)
}
