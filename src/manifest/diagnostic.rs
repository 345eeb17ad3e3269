//! What is wrong with a manifest, and where: problems that point at the lines that cause them.

use std::ops::Range;

use camino::Utf8PathBuf;
use miette::{Diagnostic, NamedSource, SourceSpan};

use super::escape;

/// Why a manifest or its lock file cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    #[diagnostic(help("{help}"))]
    Read { path: Utf8PathBuf, help: &'static str, source: std::io::Error },
    /// The file says something that is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<Invalid>),
}

/// Everything that is wrong with one file.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{path}: {}", count(.problems.len(), *.more))]
pub struct Invalid {
    /// As the user named it.
    pub path: Utf8PathBuf,
    #[source_code]
    pub text: NamedSource<String>,
    /// In the order of the file.
    #[related]
    pub problems: Vec<Problem>,
    /// How many more there are: what follows a slip of syntax is often no mistake of its own.
    pub more: usize,
}

/// Slips of syntax that are shown of one file.
const MOST_SYNTAX: usize = 5;

/// Longest line in bytes that is drawn.
const LONGEST_LINE: usize = 1000;

fn count(shown: usize, more: usize) -> String {
    match (shown, more) {
        (1, 0) => "1 problem".to_owned(),
        (n, 0) => format!("{n} problems"),
        (n, more) => format!("{} problems, of which the first {n} are shown", n + more),
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Problem {
    /// What was found and what was expected.
    pub message: String,
    /// Where; absent for what is missing from the whole file.
    #[label("{label}")]
    pub at: Option<SourceSpan>,
    /// The few words under the line.
    pub label: String,
    /// What to do.
    #[help]
    pub help: Option<String>,
}

impl Problem {
    /// Says in words where it is, if it would have to be drawn with lines that nobody can read (and
    /// whose columns are beyond what a drawing can have).
    fn tell_in_words(&mut self, text: &str) {
        let Some(at) = self.at else { return };
        let before = &text.as_bytes()[..at.offset().min(text.len())];
        let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let line = before.iter().filter(|b| **b == b'\n').count();
        // The lines around it are drawn, too.
        let drawn = text.lines().skip(line.saturating_sub(1)).take(3);
        if drawn.map(str::len).max() <= Some(LONGEST_LINE) {
            return;
        }
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        let label = if self.label.is_empty() { "here" } else { self.label.as_str() };
        self.message += &format!(" ({label}: line {}, column {column})", line + 1);
        self.at = None;
    }
}

/// Collects problems, so that one look shows them all.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    /// Slips of syntax among them.
    syntax: usize,
    /// Slips of syntax that are only counted.
    more: usize,
}

impl Problems {
    /// Adds a problem at `span`; an empty span at the start of the file means the whole of it.
    pub fn add(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        let at = (span != (0..0)).then(|| SourceSpan::from(span));
        self.found.push(Problem { message: message.into(), at, label: label.into(), help });
    }

    /// Adds what the TOML parser says of `text`.
    pub fn add_toml(&mut self, error: &toml::de::Error, text: &str) {
        let span = error.span().unwrap_or(0..0);
        if let Some(key) = error.message().strip_prefix("missing field") {
            let help = "`qrun schema` prints every key with its meaning".to_owned();
            self.add(span, format!("missing key{key}"), "not in here", Some(help));
        } else if self.syntax == MOST_SYNTAX {
            self.more += 1;
        } else {
            self.syntax += 1;
            let help = escape::help(error.message(), text, span.start);
            self.add(span, error.message(), "here", help);
        }
    }

    /// Adds that the file is no manifest at all, with what the TOML parser says first of it.
    pub fn add_no_manifest(&mut self, error: Option<&toml::de::Error>) {
        let help = "name a job's manifest: jobs/gpt-oss-nano.toml is one, and `qrun schema` prints \
                    every key";
        self.add(
            error.and_then(toml::de::Error::span).unwrap_or(0..0),
            "this is no manifest: it has none of `schema`, `name` and `[input]`, which each has",
            error.map_or("", toml::de::Error::message),
            Some(help.to_owned()),
        );
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The error to show, problems in the order of the file.
    pub fn into_error(mut self, path: &camino::Utf8Path, text: &str) -> ManifestError {
        self.found.sort_by_key(|problem| problem.at.map_or(usize::MAX, |at| at.offset()));
        self.found.dedup();
        self.found.iter_mut().for_each(|problem| problem.tell_in_words(text));
        let invalid = Invalid {
            path: path.to_owned(),
            text: NamedSource::new(path.as_str(), text.to_owned()).with_language("toml"),
            problems: self.found,
            more: self.more,
        };
        Box::new(invalid).into()
    }
}
