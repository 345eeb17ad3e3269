//! Publishing: copies files to a directory, never over a different file, and lists their SHA-256.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::context::from_here;
use super::{Context, ErrorClass, FileDigest, Level, PublishResult, PublishSpec, StepError, Unit};
use crate::files::{Output, open_regular, write_atomic};

/// Bytes read at a time.
const CHUNK: usize = 4 << 20;

/// Copies what is not there yet and writes the list.
///
/// A file that is there already with the same digest is left; so is one whose place is where it is.
///
/// # Errors
/// [`ErrorClass::Input`] if a file is missing or no longer what its digest says;
/// [`ErrorClass::Step`] if another file has the name; [`ErrorClass::Usage`] if two files want one
/// name; [`ErrorClass::Host`] if the directory cannot be written.
pub fn run(spec: &PublishSpec, ctx: &Context<'_>) -> Result<PublishResult, StepError> {
    let places = places(spec)?;
    let mut progress = Progress { ctx, done: 0, total: spec.files.iter().map(|f| f.bytes).sum() };
    let mut published = Vec::with_capacity(spec.files.len());
    for (file, place) in spec.files.iter().zip(places) {
        publish(file, &place, &mut progress)?;
        published.push(FileDigest { path: place, ..file.clone() });
    }
    let sha256_list = match &spec.sha256_list {
        Some(path) => {
            let list = sha256_lines(&published)?;
            Some(write_atomic(path, list.as_bytes(), true)?)
        }
        None => None,
    };
    Ok(PublishResult { files: published, sha256_list })
}

/// Where each file goes, no two to the same place.
fn places(spec: &PublishSpec) -> Result<Vec<Utf8PathBuf>, StepError> {
    let mut taken: BTreeMap<Utf8PathBuf, &Utf8Path> = BTreeMap::new();
    let mut places = Vec::with_capacity(spec.files.len());
    for file in &spec.files {
        let name = file.path.file_name().ok_or_else(|| {
            StepError::new(ErrorClass::Usage, format!("cannot publish {}: not a file", file.path))
        })?;
        let place = spec.to.join(name);
        if let Some(other) = taken.insert(place.clone(), &file.path)
            && other != file.path
        {
            return Err(StepError::new(
                ErrorClass::Usage,
                format!("{other} and {} would both be published as {place}; rename one", file.path),
            ));
        }
        places.push(place);
    }
    Ok(places)
}

struct Progress<'a> {
    ctx: &'a Context<'a>,
    done: u64,
    total: u64,
}

impl Progress<'_> {
    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.ctx.progress(self.done, self.total, Unit::Bytes);
    }
}

fn publish(
    file: &FileDigest,
    place: &Utf8Path,
    progress: &mut Progress<'_>,
) -> Result<(), StepError> {
    let ctx = progress.ctx;
    let source = fs::canonicalize(&file.path).map_err(|e| unreadable(&file.path, &e))?;
    let there = match fs::metadata(place) {
        Ok(there) => Some(there),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(unreadable(place, &e)),
    };
    match there {
        None => copy(file, place, progress)?,
        Some(_) if fs::canonicalize(place).is_ok_and(|p| p == source) => {
            progress.advance(file.bytes);
            ctx.log(Level::Info, format!("{place} is there already: it is the file itself"));
        }
        Some(there) => {
            let same = there.is_file()
                && there.len() == file.bytes
                && sha256(place, progress)? == file.sha256;
            if !same {
                return Err(StepError::new(
                    ErrorClass::Step,
                    format!(
                        "cannot publish {} as {place}: another file has that name ({} bytes; \
                         expected {} bytes with SHA-256 {}). Nothing is overwritten: move it away \
                         or publish to another directory",
                        file.path,
                        there.len(),
                        file.bytes,
                        file.sha256
                    ),
                ));
            }
            ctx.log(Level::Info, format!("{place} is there already, with the same SHA-256"));
        }
    }
    Ok(())
}

fn copy(file: &FileDigest, place: &Utf8Path, progress: &mut Progress<'_>) -> Result<(), StepError> {
    let mut output = Output::create(place, file.bytes, false)?;
    each_chunk(&file.path, progress, |chunk| Ok(output.write(chunk)?))?;
    let found = output.sha256();
    if found != file.sha256 {
        return Err(StepError::new(
            ErrorClass::Input,
            format!(
                "cannot publish {}: it has changed since it was made: expected {} bytes with \
                 SHA-256 {}, found {} bytes with {found}; run the job again",
                file.path,
                file.bytes,
                file.sha256,
                output.written()
            ),
        ));
    }
    output.finish()?;
    progress.ctx.log(Level::Info, format!("copied {} to {place}", file.path));
    Ok(())
}

/// SHA-256 of the file at `path`.
fn sha256(path: &Utf8Path, progress: &mut Progress<'_>) -> Result<String, StepError> {
    let mut hasher = Sha256::new();
    each_chunk(path, progress, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(hex::encode(hasher.finalize()))
}

fn each_chunk(
    path: &Utf8Path,
    progress: &mut Progress<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let mut file = open_regular(path).map_err(|e| unreadable(path, &e))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        progress.ctx.check_cancelled()?;
        let n = file.read(&mut buffer).map_err(|e| unreadable(path, &e))?;
        if n == 0 {
            return Ok(());
        }
        take(&buffer[..n])?;
        progress.advance(n as u64);
    }
}

/// Lines that `sha256sum -c` reads from the workspace: digest, two spaces, path.
fn sha256_lines(files: &[FileDigest]) -> Result<String, StepError> {
    let mut lines = String::new();
    for file in files {
        let path = from_here(&file.path)?;
        // As GNU sha256sum escapes names that would break a line.
        if path.as_str().contains(['\\', '\n', '\r']) {
            let path = path.as_str().replace('\\', "\\\\").replace('\n', "\\n");
            let path = path.replace('\r', "\\r");
            lines.push_str(&format!("\\{}  {path}\n", file.sha256));
        } else {
            lines.push_str(&format!("{}  {path}\n", file.sha256));
        }
    }
    Ok(lines)
}

fn unreadable(path: &Utf8Path, error: &std::io::Error) -> StepError {
    StepError::new(ErrorClass::Input, format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{Recorder, context};

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let guard = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        (guard, path)
    }

    fn abc(dir: &Utf8Path) -> FileDigest {
        let path = dir.join("abc.gguf");
        fs::write(&path, "abc").unwrap();
        FileDigest { path, bytes: 3, sha256: ABC.to_owned() }
    }

    fn publish_to(dir: &Utf8Path, files: Vec<FileDigest>) -> Result<PublishResult, StepError> {
        let spec =
            PublishSpec { files, to: dir.join("out"), sha256_list: Some(dir.join("list.txt")) };
        run(&spec, &context(&Recorder::new()))
    }

    #[test]
    fn copies_lists_and_leaves_what_is_there() {
        let (_guard, dir) = directory();
        let file = abc(&dir);
        let result = publish_to(&dir, vec![file.clone()]).unwrap();
        let place = dir.join("out/abc.gguf");
        assert_eq!(result.files[0], FileDigest { path: place.clone(), ..file.clone() });
        assert_eq!(fs::read(&place).unwrap(), b"abc");
        assert_eq!(fs::read_to_string(dir.join("list.txt")).unwrap(), format!("{ABC}  {place}\n"));

        let made = fs::metadata(&place).unwrap().modified().unwrap();
        let spec = PublishSpec { files: vec![file], to: dir.join("out"), sha256_list: None };
        let recorder = Recorder::new();
        run(&spec, &context(&recorder)).unwrap();
        assert_eq!(fs::metadata(&place).unwrap().modified().unwrap(), made);
        assert!(recorder.log_lines()[0].contains("with the same SHA-256"));
    }

    #[test]
    fn sha256sum_accepts_the_list() {
        let (_guard, dir) = directory();
        publish_to(&dir, vec![abc(&dir)]).unwrap();
        let checked = std::process::Command::new("sha256sum")
            .args(["-c", "--strict", "list.txt"])
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }

    #[test]
    fn a_name_with_a_line_break_is_escaped_as_sha256sum_does() {
        let file = FileDigest { path: "a\\b\nc".into(), bytes: 0, sha256: ABC.to_owned() };
        assert_eq!(sha256_lines(&[file]).unwrap(), format!("\\{ABC}  a\\\\b\\nc\n"));
    }

    #[test]
    fn another_file_of_the_name_is_never_overwritten() {
        let (_guard, dir) = directory();
        fs::create_dir(dir.join("out")).unwrap();
        fs::write(dir.join("out/abc.gguf"), "xyz").unwrap();
        let error = publish_to(&dir, vec![abc(&dir)]).unwrap_err();
        assert_eq!(error.class, ErrorClass::Step);
        assert!(error.message.contains("another file has that name"), "{error}");
        assert_eq!(fs::read(dir.join("out/abc.gguf")).unwrap(), b"xyz");
        assert!(!dir.join("list.txt").exists());
    }

    #[test]
    fn a_file_that_changed_is_not_published() {
        let (_guard, dir) = directory();
        let file = abc(&dir);
        fs::write(&file.path, "abd").unwrap();
        let error = publish_to(&dir, vec![file.clone()]).unwrap_err();
        assert_eq!(error.class, ErrorClass::Input);
        assert!(error.message.contains("has changed"), "{error}");
        assert_eq!(dir.join("out").read_dir_utf8().unwrap().count(), 0);
        fs::remove_file(&file.path).unwrap();
        let error = publish_to(&dir, vec![file]).unwrap_err();
        assert_eq!(error.class, ErrorClass::Input);
    }

    #[test]
    fn a_file_in_its_place_is_not_copied_onto_itself() {
        let (_guard, dir) = directory();
        fs::create_dir(dir.join("out")).unwrap();
        let file = abc(&dir.join("out"));
        let result = publish_to(&dir, vec![file.clone()]).unwrap();
        assert_eq!(result.files, [file]);
        assert_eq!(fs::read(dir.join("out/abc.gguf")).unwrap(), b"abc");
    }

    #[test]
    fn two_files_for_one_name_are_refused() {
        let (_guard, dir) = directory();
        fs::create_dir(dir.join("other")).unwrap();
        let error = publish_to(&dir, vec![abc(&dir), abc(&dir.join("other"))]).unwrap_err();
        assert_eq!(error.class, ErrorClass::Usage);
        assert!(!dir.join("out").exists());
    }
}
