//! Standard output: text and JSON, and a reader that went away.

use std::io::{self, Write};
use std::process::ExitCode;

use schemars::JsonSchema;
use serde::Serialize;

use super::CliError;
use super::fit::{fit, stderr_width, stdout_width};
use crate::steps::{ErrorClass, rfc3339};

/// Writes `text` to standard output and ends the line where `text` does not.
///
/// # Errors
/// If standard output cannot be written (a full disk behind a redirection). A reader that went
/// away, as in `qrun inspect FILE | head`, ends the process quietly instead.
pub fn print(text: &str) -> Result<(), CliError> {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    print_part(&format!("{text}{newline}"))
}

/// Writes `text` for people to standard output, in the width that there is.
///
/// # Errors
/// As [`print`].
pub fn tell(text: &str) -> Result<(), CliError> {
    print(&fit(text, stdout_width()))
}

/// Writes `text` to standard output as it is, at once: a part of something longer.
///
/// # Errors
/// As [`print`].
pub fn print_part(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(CliError::host(format!("cannot write to standard output: {e}"))),
    }
}

/// Writes a line to standard output. A reader that went away must not end what is told about.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Writes a line for people to standard error, in the width that there is. A reader that went away
/// must not end what is told about.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", fit(text, stderr_width()));
}

/// Writes what came of one or several of the same: an object for one, a list for several.
///
/// # Errors
/// As [`print`].
pub fn print_one_or_all(values: &[impl Serialize]) -> Result<ExitCode, CliError> {
    match values {
        [one] => print_json(one),
        all => print_json(&all),
    }
}

/// What came of something, with what and when.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}")]
pub struct Dated<T> {
    /// The version of qrun.
    qrun_version: String,
    /// When it was printed: UTC, as 2026-01-31T12:00:00Z.
    created: String,
    #[serde(flatten)]
    result: T,
}

/// Writes `result` as [`print_json`] does, with this program's version and the time.
///
/// # Errors
/// As [`print`].
pub fn print_dated_json(result: impl Serialize) -> Result<ExitCode, CliError> {
    let qrun_version = env!("CARGO_PKG_VERSION").to_owned();
    let created = rfc3339(jiff::Timestamp::now());
    print_json(&Dated { qrun_version, created, result })
}

/// Writes `value` as indented JSON to standard output.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl Serialize) -> Result<ExitCode, CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| CliError::from_error(ErrorClass::Step, &e))?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
