//! What is found in place of a file that was not fetched.

use std::fmt;

use bytesize::ByteSize;

/// Bytes at the start of a file that are looked at.
const START: usize = 1024;

/// Something that stands in the place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// The pointer that `git clone` leaves where Git LFS is not set up, as repositories of
    /// Hugging Face have it also for what they keep in Xet; with the length of the file.
    LfsPointer { bytes: Option<u64> },
    /// What a server answered instead, saved under the file's name.
    WebPage,
}

impl StandIn {
    /// What a file that begins with `bytes` is, where it is none of its own.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let start = &bytes[..bytes.len().min(START)];
        // <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>
        if start.starts_with(b"version https://git-lfs.github.com/spec/") {
            let text = String::from_utf8_lossy(start);
            let bytes = text.lines().find_map(|line| line.strip_prefix("size ")?.parse().ok());
            return Some(Self::LfsPointer { bytes });
        }
        let text = start.trim_ascii_start();
        let begins = |tag: &str| {
            text.get(..tag.len()).is_some_and(|t| t.eq_ignore_ascii_case(tag.as_bytes()))
        };
        let page = ["<!doctype html", "<html", "<?xml"].into_iter().any(begins);
        page.then_some(Self::WebPage)
    }
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LfsPointer { bytes } => {
                f.write_str("a Git LFS pointer, not the file itself")?;
                if let Some(bytes) = bytes {
                    let size = ByteSize(*bytes).display().si();
                    write!(f, ", whose {size} have not been fetched")?;
                }
                f.write_str("; run `git lfs pull` in its repository, or download the file")
            }
            Self::WebPage => f.write_str(
                "a web page or a server's error message, not the file itself; download it again",
            ),
        }
    }
}

/// The first line of a file that should be binary and begins with `bytes`, where it is text, such
/// as `Entry not found`; at most 80 characters of it.
pub fn text_instead(bytes: &[u8]) -> Option<String> {
    let start = &bytes[..bytes.len().min(START)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A character may be cut at the end.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&start[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.trim().is_empty() || text.contains(|c: char| c.is_control() && !"\t\r\n".contains(c)) {
        return None;
    }
    Some(text.trim_start().lines().next()?.chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_told_from_files() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:dd67\nsize 5664040\n";
        let found = StandIn::of(pointer.as_bytes());
        assert_eq!(found, Some(StandIn::LfsPointer { bytes: Some(5_664_040) }));
        let message = found.unwrap().to_string();
        assert!(message.contains("5.7 MB") && message.contains("git lfs pull"), "{message}");
        let cut = StandIn::of(b"version https://git-lfs.github.com/spec/v1\nsize x");
        assert_eq!(cut, Some(StandIn::LfsPointer { bytes: None }));
        for page in ["\n <!DOCTYPE html>\n<html>", "<HTML lang=en>", "<?xml version='1.0'?><Error>"]
        {
            assert_eq!(StandIn::of(page.as_bytes()), Some(StandIn::WebPage), "{page}");
        }
        for file in ["", "{\"version\": 1}", "GGUF", "<", "version 1", "<|start|>"] {
            assert_eq!(StandIn::of(file.as_bytes()), None, "{file}");
        }
    }

    #[test]
    fn text_in_place_of_a_binary_file_is_quoted() {
        assert_eq!(text_instead(b"\nEntry not found\nmore").as_deref(), Some("Entry not found"));
        assert_eq!(text_instead("é".repeat(600).as_bytes()).unwrap().chars().count(), 80);
        for binary in [&b""[..], b"  ", b"\x10\0\0\0\0\0\0\0{}", b"GGUF\x03\0\0\0", b"\xff\xfe\xfd"]
        {
            assert_eq!(text_instead(binary), None, "{binary:?}");
        }
    }
}
