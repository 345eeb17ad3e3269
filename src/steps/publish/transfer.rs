//! One file to its place: left where it is there, sharing its original's blocks where the file
//! system can do that, copied otherwise. Knows nothing of what else is published.
//!
//! A reflink costs neither time nor space, and survives every change of its original, which a hard
//! link does not. What it holds is not read. That is safe where the original is known to be intact:
//! its digest was taken under a stamp (size, times, inode) that it still has, and whoever runs this
//! step takes the stamp again afterwards and withdraws the reflink if it changed. Where that is not
//! known the reflink is read before it gets its name. A copy is read anyway.

use std::fs::{self, File};
use std::io;

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use crate::files::{FileDigest, Output, open_regular};
use crate::steps::{Arrival, Context, FileToPublish, Level, StepError, Unit};

/// Makes the first file share the blocks of the second, or fails where that cannot be done.
pub type Reflink = fn(&File, &File) -> io::Result<()>;

/// Puts files into their places.
pub struct Transfer<'a> {
    pub ctx: &'a Context<'a>,
    pub reflink: Reflink,
    /// Bytes of all files.
    pub total: u64,
    /// Bytes of those that are done.
    pub done: u64,
    /// Bytes written.
    pub written: u64,
}

impl Transfer<'_> {
    /// Puts `file` at `place`, and says how.
    ///
    /// # Errors
    /// As [`super::run`].
    pub fn put(&mut self, file: &FileToPublish, place: &Utf8Path) -> Result<Arrival, StepError> {
        let origin = &file.file;
        let source =
            fs::canonicalize(&origin.path).map_err(|e| StepError::unreadable(&origin.path, &e))?;
        let there = match fs::metadata(place) {
            Ok(there) => Some(there),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(StepError::unreadable(place, &e)),
        };
        match there {
            Some(_) if fs::canonicalize(place).is_ok_and(|p| p == source) => {
                if !file.intact {
                    let found = self.sha256(&origin.path)?;
                    expect(origin, origin.bytes, &found)?;
                } else {
                    self.advance(origin.bytes);
                }
                self.say(format!("{place} is there already: it is the file itself"));
                Ok(Arrival::InPlace)
            }
            Some(there) => {
                self.check_there(file, place, &there)?;
                self.say(format!("{place} is there already, with the same SHA-256"));
                Ok(Arrival::AlreadyThere)
            }
            None if self.share(file, place)? => {
                self.say(format!("reflinked {} to {place}", origin.path));
                Ok(Arrival::Reflink)
            }
            None => {
                self.copy(origin, place)?;
                self.say(format!("copied {} to {place}", origin.path));
                Ok(Arrival::Copy)
            }
        }
    }

    /// Refuses another file that has the name already.
    fn check_there(
        &mut self,
        file: &FileToPublish,
        place: &Utf8Path,
        there: &fs::Metadata,
    ) -> Result<(), StepError> {
        let FileDigest { path, bytes, sha256 } = &file.file;
        if file.there {
            self.advance(*bytes);
            return Ok(());
        }
        if there.is_file() && there.len() == *bytes && self.sha256(place)? == *sha256 {
            return Ok(());
        }
        Err(StepError::failed(format!(
            "cannot publish {path} as {place}: another file has that name ({} bytes; expected \
            {bytes} bytes with SHA-256 {sha256}). Nothing is overwritten: move it away or \
            publish to another directory",
            there.len(),
        )))
    }

    /// Makes `place` a reflink; whether the file system can.
    fn share(&mut self, file: &FileToPublish, place: &Utf8Path) -> Result<bool, StepError> {
        let origin = &file.file;
        let source =
            open_regular(&origin.path).map_err(|e| StepError::unreadable(&origin.path, &e))?;
        let there = source.metadata().map_err(|e| StepError::unreadable(&origin.path, &e))?;
        if there.len() != origin.bytes {
            return Err(changed(origin, there.len(), None));
        }
        // It needs no room.
        let output = Output::create(place, &self.ctx.mark, 0, false)?;
        let reflink = self.reflink;
        let check = |partial: &Utf8Path| match file.intact {
            true => Ok(()),
            false => self.sha256(partial).and_then(|found| expect(origin, origin.bytes, &found)),
        };
        let shared = output.finish_filled(|file| reflink(file, &source), check)?;
        if shared.is_some() && file.intact {
            self.advance(origin.bytes);
        }
        Ok(shared.is_some())
    }

    fn copy(&mut self, origin: &FileDigest, place: &Utf8Path) -> Result<(), StepError> {
        let mut output = Output::create(place, &self.ctx.mark, origin.bytes, false)?;
        self.each_chunk(&origin.path, |chunk| Ok(output.write(chunk)?))?;
        expect(origin, output.written(), &output.sha256())?;
        self.written += output.finish()?.bytes;
        Ok(())
    }

    /// SHA-256 of the file at `path`.
    fn sha256(&mut self, path: &Utf8Path) -> Result<String, StepError> {
        let mut hasher = Sha256::new();
        self.each_chunk(path, |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        Ok(hex::encode(hasher.finalize()))
    }

    fn each_chunk(
        &mut self,
        path: &Utf8Path,
        mut take: impl FnMut(&[u8]) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let ctx = self.ctx;
        ctx.read(path, |chunk| {
            take(chunk)?;
            self.advance(chunk.len() as u64);
            Ok(())
        })
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.ctx.progress(self.done, self.total, Unit::Bytes);
    }

    fn say(&self, message: String) {
        self.ctx.log(Level::Info, message);
    }
}

/// Refuses a file of which something else was read than was made.
fn expect(origin: &FileDigest, bytes: u64, sha256: &str) -> Result<(), StepError> {
    if sha256 == origin.sha256 { Ok(()) } else { Err(changed(origin, bytes, Some(sha256))) }
}

fn changed(origin: &FileDigest, bytes: u64, sha256: Option<&str>) -> StepError {
    let found = sha256.map_or(String::new(), |found| format!(" with {found}"));
    StepError::input(format!(
        "cannot publish {}: it has changed since it was made: expected {} bytes with SHA-256 \
        {}, found {bytes} bytes{found}; run the job again",
        origin.path, origin.bytes, origin.sha256,
    ))
}
