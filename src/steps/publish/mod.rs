//! Publish: puts files into a directory, never over a different one, and lists their SHA-256. Which
//! files, the description says; by what rule they are chosen, [`passed()`].

mod list;
mod passed;
mod spec;
mod transfer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Context, Level, StepError};
use crate::files::{FileDigest, share_blocks, write_atomic};
use transfer::{Reflink, Transfer};

pub use passed::{Ending, Passed, passed};
pub use spec::{Arrival, FileToPublish, PublishResult, PublishSpec, PublishedFile};

/// Puts into the directory what is not there yet, and writes the list.
///
/// A file that is there already with the same digest is left; so is one whose place is where it is.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if a file is missing or no longer what
/// its digest says; [`ErrorClass::Step`](crate::steps::ErrorClass::Step) if another file has the
/// name; [`ErrorClass::Usage`](crate::steps::ErrorClass::Usage) if two files want one name;
/// [`ErrorClass::Host`](crate::steps::ErrorClass::Host) if the directory cannot be written.
pub fn run(spec: &PublishSpec, ctx: &Context<'_>) -> Result<PublishResult, StepError> {
    run_with(spec, ctx, share_blocks)
}

/// [`run`] with another way to share blocks.
fn run_with(
    spec: &PublishSpec,
    ctx: &Context<'_>,
    reflink: Reflink,
) -> Result<PublishResult, StepError> {
    let places = places(spec)?;
    let total = spec.files.iter().map(|f| f.file.bytes).sum();
    let mut transfer = Transfer { ctx, reflink, total, done: 0, written: 0 };
    let mut files = Vec::with_capacity(spec.files.len());
    for (file, path) in spec.files.iter().zip(places) {
        let made = transfer.put(file, &path)?;
        let FileToPublish { format, file, although, .. } = file.clone();
        let file = FileDigest { path, ..file };
        files.push(PublishedFile { format, file, made, although });
    }
    let mut written_bytes = transfer.written;
    let sha256_list = match &spec.sha256_list {
        Some(path) => {
            let text = list::sha256_lines(files.iter().map(|published| &published.file))?;
            written_bytes += text.len() as u64;
            Some(write_atomic(path, text.as_bytes(), true)?)
        }
        None => None,
    };
    let others = spec.others.iter().filter(|path| path.is_file()).cloned().collect();
    let left_out = spec.left_out.is.clone();
    let result = PublishResult { files, left_out, others, written_bytes, sha256_list };
    warn(&result, &spec.to, ctx);
    Ok(result)
}

/// The place of `file` in the directory `to`; `None` if it has no name.
pub fn place(to: &Utf8Path, file: &Utf8Path) -> Option<Utf8PathBuf> {
    Some(to.join(file.file_name()?))
}

/// Where each file goes, no two to the same place.
fn places(spec: &PublishSpec) -> Result<Vec<Utf8PathBuf>, StepError> {
    let mut taken: BTreeMap<Utf8PathBuf, &Utf8Path> = BTreeMap::new();
    let mut places = Vec::with_capacity(spec.files.len());
    for FileToPublish { file, .. } in spec.files.iter() {
        let place = place(&spec.to, &file.path)
            .ok_or_else(|| StepError::usage(format!("cannot publish {}: not a file", file.path)))?;
        if let Some(other) = taken.insert(place.clone(), &file.path)
            && other != file.path
        {
            return Err(StepError::usage(format!(
                "{other} and {} would both be published as {place}; rename one",
                file.path
            )));
        }
        places.push(place);
    }
    Ok(places)
}

/// Says what a reader of the directory would not expect of it.
fn warn(result: &PublishResult, to: &Utf8Path, ctx: &Context<'_>) {
    for published in &result.files {
        if let Some(although) = &published.although {
            ctx.log(
                Level::Warn,
                format!("{} is published although {although}: publish.failed", published.format),
            );
        }
    }
    for (format, why) in &result.left_out {
        ctx.log(Level::Info, format!("{format} is not published: {why}"));
    }
    if let Some(example) = result.others.first() {
        let (files, stand) = match result.others.len() {
            1 => ("1 other file".to_owned(), "stands"),
            n => (format!("{n} other files"), "stand"),
        };
        ctx.log(
            Level::Warn,
            format!(
                "{files} of this job {stand} in {to}, made earlier or left out now: {example}. \
                Nothing is deleted, and the list of digests has none of them"
            ),
        );
    }
}

impl fmt::Display for PublishResult {
    /// `2 files copied, 1 there already; left out: q4_K_S (bench:q4_K_S failed)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (made, words) in [
            (Arrival::Copy, "copied"),
            (Arrival::Reflink, "reflinked"),
            (Arrival::AlreadyThere, "there already"),
            (Arrival::InPlace, "in their place"),
        ] {
            match self.files.iter().filter(|file| file.made == made).count() {
                0 => {}
                1 => parts.push(format!("1 file {}", words.replace("their", "its"))),
                n => parts.push(format!("{n} files {words}")),
            }
        }
        f.write_str(&parts.join(", "))?;
        let left_out: Vec<String> =
            self.left_out.iter().map(|(format, why)| format!("{format} ({why})")).collect();
        if left_out.is_empty() { Ok(()) } else { write!(f, "; left out: {}", left_out.join(", ")) }
    }
}
