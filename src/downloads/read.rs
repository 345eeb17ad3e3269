//! Reading texts and lists of names.

use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};

use super::StandIn;
use crate::files::open_regular;

/// Why a text cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        path: Utf8PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is longer than a file of its kind can be.
    #[error("{path} has {bytes} bytes; expected at most {limit}")]
    TooLong { path: Utf8PathBuf, bytes: u64, limit: u64 },
    /// It is not text.
    #[error("{path} is not UTF-8 text: wrong at byte {at}")]
    NotText { path: Utf8PathBuf, at: usize },
    /// Something else is there in its place.
    #[error("{path} is {what}")]
    StandIn { path: Utf8PathBuf, what: StandIn },
}

/// Reads the text at `path`, of at most `limit` bytes; without the byte order mark that some editors
/// put in front.
///
/// # Errors
/// If it cannot be read, is longer, is not UTF-8, or something else stands in its place.
pub fn read_text(path: &Utf8Path, limit: u64) -> Result<String, ReadError> {
    read_text_if_there(path, limit)?.ok_or_else(|| ReadError::Io {
        path: path.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })
}

/// As [`read_text`]; `None` where there is no such file.
///
/// # Errors
/// As [`read_text`].
pub fn read_text_if_there(path: &Utf8Path, limit: u64) -> Result<Option<String>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > limit {
        return Err(ReadError::TooLong { path: path.to_owned(), bytes, limit });
    }
    let mut text = Vec::new();
    file.take(limit).read_to_end(&mut text).map_err(failed)?;
    if let Some(what) = StandIn::of(&text) {
        return Err(ReadError::StandIn { path: path.to_owned(), what });
    }
    let mut text = String::from_utf8(text).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        ReadError::NotText { path: path.to_owned(), at }
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(Some(text))
}

/// The folder in which a tokenizer has more chat templates.
const MORE_TEMPLATES: &str = "additional_chat_templates";

/// The files of a model in `directory`, by what they are called: weights, configuration, vocabulary,
/// templates, the model card. Sorted; links are followed.
///
/// # Errors
/// If the directory cannot be listed.
pub fn model_files(directory: &Utf8Path) -> io::Result<Vec<String>> {
    let mut names = names_in(directory)?;
    if directory.join(MORE_TEMPLATES).is_dir() {
        let more = names_in(&directory.join(MORE_TEMPLATES))?;
        names.extend(more.iter().map(|name| format!("{MORE_TEMPLATES}/{name}")));
    }
    names.retain(|name| {
        let path = Utf8Path::new(name);
        // What the model card says goes into the converted file.
        let wanted = name == "README.md"
            || matches!(
                path.extension(),
                Some("safetensors" | "json" | "jinja" | "model" | "tiktoken")
            );
        wanted && !name.starts_with('.') && directory.join(path).is_file()
    });
    names.sort();
    Ok(names)
}

/// The names in `directory`, sorted. One that is no UTF-8 is passed over: no configuration can name
/// it.
///
/// # Errors
/// If the directory cannot be listed.
pub fn names_in(directory: &Utf8Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in directory.read_dir()? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let guard = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        (guard, path)
    }

    #[test]
    fn text_is_read_and_what_is_none_is_named() {
        let (_guard, dir) = directory();
        let path = dir.join("x");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_text(&path, 50).map_err(|e| e.to_string())
        };
        assert_eq!(read(b"\xef\xbb\xbf{}").unwrap(), "{}");
        let too_long = read(&[b' '; 51]).unwrap_err();
        assert!(too_long.contains("51 bytes; expected at most 50"), "{too_long}");
        let binary = read(b"ab\xff").unwrap_err();
        assert!(binary.contains("wrong at byte 2"), "{binary}");
        let pointer = read(b"version https://git-lfs.github.com/spec/v1\n").unwrap_err();
        assert!(pointer.contains("is a Git LFS pointer"), "{pointer}");
        assert!(read_text_if_there(&dir.join("y"), 1).unwrap().is_none());
        assert!(read_text(&dir.join("y"), 1).is_err());
    }

    #[test]
    fn names_that_are_no_utf8_are_passed_over() {
        let (_guard, dir) = directory();
        for name in [&b"b"[..], b"a\xff", b"a"] {
            let name = std::ffi::OsStr::from_bytes(name);
            std::fs::write(dir.as_std_path().join(name), "").unwrap();
        }
        assert_eq!(names_in(&dir).unwrap(), ["a", "b"]);
    }
}
