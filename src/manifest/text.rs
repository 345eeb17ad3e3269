//! The text of a manifest or a lock file, and what a file is that is neither: told from its first
//! bytes, so that a model given by mistake is named and not read.

use std::fs;
use std::io::{self, Read};

use camino::Utf8Path;

/// Bytes of a manifest or lock file at most.
const LARGEST: u64 = 16 << 20;

/// Bytes that are enough to tell what a file is.
const START: u64 = 4096;

/// A text file of at most [`LARGEST`] bytes. Of any other no more than its start is read, and a
/// pipe is not opened: nobody may ever write to it.
///
/// # Errors
/// If it cannot be read, or, as [`io::ErrorKind::InvalidData`] and in words, if it is something
/// else.
pub fn read_text(path: &Utf8Path) -> io::Result<String> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        let what = if found.is_dir() { "a directory" } else { "a pipe, a socket or a device" };
        return Err(not_text(what));
    }
    let mut file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(START).read_to_end(&mut bytes)?;
    if let Some(what) = other_than_toml(&bytes) {
        return Err(not_text(what));
    }
    if found.len() > LARGEST {
        return Err(not_text(&format!("a file of more than {} MB", LARGEST >> 20)));
    }
    file.take(LARGEST).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        not_text(&format!("no UTF-8 (line {})", line + 1))
    })
}

fn not_text(what: &str) -> io::Error {
    let message = format!("it is {what}, and what is expected is a text file in TOML");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// What a file is that begins with `start`, where it cannot be TOML.
fn other_than_toml(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(b"GGUF") {
        return Some("a GGUF file, which `qrun inspect` shows");
    }
    // A length, then JSON.
    if start.get(8..10) == Some(b"{\"") && start[4..8] == [0; 4] {
        return Some("a safetensors file");
    }
    if start.contains(&0) {
        return Some("a binary file");
    }
    // No document in TOML begins with a brace.
    let first = start.trim_ascii_start().first();
    (first == Some(&b'{')).then_some("JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, bytes: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        read_text(Utf8Path::from_path(&path).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_text_is_named() {
        let safetensors = [&60u64.to_le_bytes()[..], b"{\"__metadata__\":{}}"].concat();
        for (bytes, what) in [
            (&b"GGUF\x03\0\0\0"[..], "a GGUF file, which `qrun inspect` shows"),
            (&safetensors, "a safetensors file"),
            (b"\x7fELF\x02\x01\0\0", "a binary file"),
            (b"\n {\"schema\": 1}", "JSON"),
            (b"schema = 1\nname = \"\xff\"\n", "no UTF-8 (line 2)"),
            (&vec![b'#'; (16 << 20) + 1], "a file of more than 16 MB"),
        ] {
            let message = message("x", bytes);
            assert!(message.starts_with(&format!("it is {what}, and")), "{message}");
        }
    }

    #[test]
    fn a_large_model_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.gguf");
        fs::write(&path, b"GGUF").unwrap();
        // Sparse: what is read of it would be read as zeros, for minutes.
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let started = std::time::Instant::now();
        let error = read_text(Utf8Path::from_path(&path).unwrap()).unwrap_err();
        assert!(error.to_string().contains("GGUF"), "{error}");
        assert!(started.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_text_is_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("job.toml");
        let text = "# ü\n".repeat(3000);
        fs::write(&path, &text).unwrap();
        assert_eq!(read_text(Utf8Path::from_path(&path).unwrap()).unwrap(), text);
    }
}
