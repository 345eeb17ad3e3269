//! What a checkpoint's `README.md` says about it in its front matter, as far as licence, tags and
//! languages go; llama.cpp's converter carries these into the file. Base models and data sets,
//! which it writes too, are left out, and so is whatever is not a plain value or a plain list.

use std::fs;

use camino::Utf8Path;

use super::error::Error;
use crate::gguf::{Array, Metadata, Value};

/// Longest front matter that is looked at, in bytes.
const MAX_BYTES: usize = 1 << 16;

/// The card's keys and values, in order; lists have several values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModelCard {
    entries: Vec<(String, Vec<String>)>,
}

impl ModelCard {
    /// Reads the card of the checkpoint in `directory`; one without is empty.
    ///
    /// # Errors
    /// If there is one that cannot be read.
    pub fn read(directory: &Utf8Path) -> Result<Self, Error> {
        let path = directory.join("README.md");
        match fs::read(&path) {
            Ok(bytes) => {
                let start = &bytes[..bytes.len().min(MAX_BYTES)];
                Ok(Self::parse(&String::from_utf8_lossy(start)))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Parses the YAML between two lines `---` at the start of `text`: `key: value`,
    /// `key: [a, b]`, and `key:` before lines `- item`.
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let mut card = Self::default();
        if lines.next() != Some("---") {
            return card;
        }
        for line in lines.take_while(|line| *line != "---") {
            if let Some(item) = line.trim_start().strip_prefix("- ") {
                if let Some((_, values)) = card.entries.last_mut() {
                    values.extend(scalar(item));
                }
                continue;
            }
            // An indented line belongs to a value that is more than a list.
            let Some((key, value)) = line.split_once(':').filter(|(k, _)| !k.starts_with(' '))
            else {
                continue;
            };
            let value = value.trim();
            let list = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
            let values = match list {
                Some(list) => list.split(',').filter_map(scalar).collect(),
                None => scalar(value).into_iter().collect(),
            };
            card.entries.push((key.trim().to_owned(), values));
        }
        card
    }

    fn get(&self, key: &str) -> &[String] {
        self.entries.iter().find(|(k, _)| k == key).map_or(&[], |(_, values)| values)
    }

    /// Appends the licence.
    pub fn write_license(&self, metadata: &mut Metadata) {
        let license = self.get("license").join(",");
        let link = |key: &str| self.get(key).first().cloned().unwrap_or_default();
        for (key, value) in [
            ("general.license", license),
            ("general.license.name", link("license_name")),
            ("general.license.link", link("license_link")),
        ] {
            if !value.is_empty() {
                metadata.set(key, Value::String(value));
            }
        }
    }

    /// Appends tags and languages.
    pub fn write_tags(&self, metadata: &mut Metadata) {
        for (key, sources) in [
            ("general.tags", ["tags", "pipeline_tag"]),
            ("general.languages", ["languages", "language"]),
        ] {
            let values: Vec<String> =
                sources.iter().flat_map(|source| self.get(source)).cloned().collect();
            if !values.is_empty() {
                metadata.set(key, Value::Array(Array::String(values)));
            }
        }
    }
}

/// A plain value without its quotes and comment; `None` where there is none or it is not plain.
fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.split_once(quote).map(|(value, _)| value.to_owned());
        }
    }
    let text = text.split_once(" #").map_or(text, |(value, _)| value.trim_end());
    let plain = !text.is_empty() && !text.starts_with(['#', '|', '>', '{', '[', '&', '*', '!']);
    (plain && !matches!(text, "null" | "~")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(text: &str) -> Vec<(String, Value)> {
        let (card, mut metadata) = (ModelCard::parse(text), Metadata::default());
        card.write_license(&mut metadata);
        card.write_tags(&mut metadata);
        metadata.iter().map(|(k, v)| (k.to_owned(), v.clone())).collect()
    }

    #[test]
    fn the_card_of_gpt_oss() {
        let text = "---\nlicense: apache-2.0\npipeline_tag: text-generation\nlibrary_name: \
                    transformers\ntags:\n- vllm\n---\n\n# gpt-oss\nlicense: other\n";
        let list =
            |v: &[&str]| Value::Array(Array::String(v.iter().map(|&s| s.to_owned()).collect()));
        assert_eq!(
            metadata(text),
            [
                ("general.license".to_owned(), Value::String("apache-2.0".into())),
                ("general.tags".to_owned(), list(&["vllm", "text-generation"])),
            ]
        );
    }

    #[test]
    fn lists_quotes_and_what_is_not_plain() {
        let text = "---\nlicense: [mit, 'apache-2.0'] \nlicense_link: \"a: b\" # why\n\
                    language:\n  - en # English\n  - \"no\"\ntags: |\n  block\nextra:\n  a: b\n---\n";
        let found = metadata(text);
        let value = |key: &str| found.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        assert_eq!(value("general.license"), Some(Value::String("mit,apache-2.0".into())));
        assert_eq!(value("general.license.link"), Some(Value::String("a: b".into())));
        let languages = Array::String(vec!["en".into(), "no".into()]);
        assert_eq!(value("general.languages"), Some(Value::Array(languages)));
        assert_eq!(value("general.tags"), None);
    }

    #[test]
    fn without_front_matter_there_is_nothing() {
        for text in ["", "# title\n---\nlicense: mit\n---\n", "---", "---\n- item\n:\n---\n"] {
            assert_eq!(metadata(text), []);
        }
    }
}
