//! Keys and names: text, but for those few that are not. A GGUF file stores bytes, and what some writer
//! cut or encoded in its own way is written back as it was.

use std::fmt;
use std::ops::Deref;

/// A metadata key or a tensor's name. It reads as text, in which bytes that are no UTF-8 are shown as
/// replacement characters, and keeps what the file has.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    text: String,
    /// What the file has, where that is no UTF-8.
    raw: Option<Box<[u8]>>,
}

impl Name {
    /// The name that a file stores as `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => {
                Self { text: String::from_utf8_lossy(bytes).into_owned(), raw: Some(bytes.into()) }
            }
        }
    }

    /// What a file stores. Two names are the same if these bytes are, whatever they look like.
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self { text, raw: None }
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_not_the_same() {
        let names = [&b"a\xff"[..], b"a\xfe", "a\u{fffd}".as_bytes()].map(Name::from_bytes);
        assert!(names.iter().all(|name| name.as_str() == "a\u{fffd}"));
        assert_ne!(names[0], names[1]);
        assert_ne!(names[0], names[2]);
        assert_eq!(names[2], "a\u{fffd}");
        assert_eq!(names[1].bytes(), b"a\xfe");
    }
}
