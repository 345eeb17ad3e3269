//! Which program this is.

use std::io;
use std::path::PathBuf;

use camino::Utf8Path;

use super::{Stamp, os};

/// Where the program was started from; another one may stand there by now.
///
/// # Errors
/// If the system does not say.
pub fn path() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// What opens and starts this very program, also where a rebuild or an update has replaced it since.
///
/// # Errors
/// If the system does not say.
pub fn itself() -> io::Result<PathBuf> {
    os::PROGRAM.map_or_else(path, |itself| Ok(itself.into()))
}

/// What tells it from another build; `None` where the system does not say.
pub fn stamp() -> Option<Stamp> {
    let itself = itself().ok()?;
    Stamp::of(Utf8Path::from_path(&itself)?).ok()?
}
