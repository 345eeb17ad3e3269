//! Pre-tokenizers: what cuts text into the words that merging never crosses.

use regex::Regex;

use super::TokenizerError;

/// A pre-tokenizer by name and pattern.
#[derive(Debug, PartialEq, Eq)]
pub struct PreTokenizer {
    /// Its name in `tokenizer.ggml.pre`.
    pub name: &'static str,
    /// The pattern of published `tokenizer.json`s, by which it is recognised.
    pub pattern: &'static str,
}

/// Those there are. Every pattern has [`LOOKAHEAD`], and its alternatives cover every character.
pub static ALL: &[PreTokenizer] = &[PreTokenizer {
    name: "gpt-4o",
    pattern: concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"|\p{N}{1,3}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"|\s*[\r\n]+",
        r"|\s+(?!\S)",
        r"|\s+",
    ),
}];

impl PreTokenizer {
    /// The one that a GGUF file calls `name`.
    pub fn named(name: &str) -> Result<&'static Self, TokenizerError> {
        Self::find(name, |pre| pre.name == name)
    }

    /// The one that splits by these patterns, one after the other.
    pub fn of_patterns(patterns: &[&str]) -> Result<&'static Self, TokenizerError> {
        let found = if patterns.is_empty() { "none" } else { &patterns.join(", then ") };
        Self::find(found, |pre| patterns == [pre.pattern])
    }

    fn find(
        found: &str,
        is_wanted: impl Fn(&Self) -> bool,
    ) -> Result<&'static Self, TokenizerError> {
        ALL.iter().find(|pre| is_wanted(pre)).ok_or_else(|| TokenizerError::Unsupported {
            what: "pre-tokenizer",
            expected: ALL.iter().map(|pre| pre.name).collect::<Vec<_>>().join(" or "),
            found: found.to_owned(),
        })
    }
}

/// The one alternative that needs to look ahead.
const LOOKAHEAD: &str = r"|\s+(?!\S)";

/// Cuts text into words.
///
/// The pattern runs without its look-ahead on an engine that is linear in the text, so that no
/// input can make it slow; [`Words`] does what the look-ahead would have done.
#[derive(Debug)]
pub struct Splitter {
    pattern: Regex,
}

impl Splitter {
    /// Compiles the pattern.
    pub fn new(pre: &PreTokenizer) -> Result<Self, TokenizerError> {
        Regex::new(&pre.pattern.replace(LOOKAHEAD, ""))
            .map(|pattern| Self { pattern })
            .map_err(|e| TokenizerError::Build { what: "the pre-tokenizer", reason: e.to_string() })
    }

    /// The words of `text`, in order and without gaps.
    pub fn words<'t>(&self, text: &'t str) -> Words<'_, 't> {
        Words { pattern: &self.pattern, text, at: 0 }
    }
}

/// The words of a text; see [`Splitter::words`].
pub struct Words<'p, 't> {
    pattern: &'p Regex,
    text: &'t str,
    at: usize,
}

impl<'t> Iterator for Words<'_, 't> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.at >= self.text.len() {
            return None;
        }
        // The alternatives cover every character, so a match begins where the last one ended.
        let end = self.pattern.find_at(self.text, self.at).map_or(self.text.len(), |m| m.end());
        let word = &self.text[self.at..end];
        let word = &word[..word.len() - left_to_the_next(word, &self.text[end..])];
        self.at += word.len();
        Some(word)
    }
}

/// Bytes at the end of `word` that belong to the next one: the last of several spaces before
/// something that is no space, which is what `\s+(?!\S)` gives back.
fn left_to_the_next(word: &str, rest: &str) -> usize {
    let blank = word.chars().all(char::is_whitespace) && !word.ends_with(['\r', '\n']);
    let last = word.chars().next_back().map_or(0, char::len_utf8);
    if blank && !rest.is_empty() && word.len() > last { last } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let splitter = Splitter::new(&ALL[0]).unwrap();
        let words: Vec<&str> = splitter.words(text).collect();
        assert_eq!(words.concat(), text, "no gap, no overlap");
        words
    }

    #[test]
    fn the_look_ahead_is_the_only_difference() {
        assert!(ALL.iter().all(|pre| pre.pattern.contains(LOOKAHEAD)));
    }

    #[test]
    fn spaces_leave_one_to_the_word_that_follows() {
        assert_eq!(words("a   b"), ["a", "  ", " b"]);
        assert_eq!(words("a  "), ["a", "  "]);
        assert_eq!(words("  \n  x"), ["  \n", " ", " x"]);
        assert_eq!(words("\t\t1"), ["\t", "\t", "1"]);
        assert_eq!(words("a \u{3000}b"), ["a", " ", "\u{3000}b"]);
    }

    #[test]
    fn contractions_numbers_and_punctuation() {
        assert_eq!(
            words("don't WE'LL 12345 !!\n/x"),
            ["don't", " WE'LL", " ", "123", "45", " !!\n/", "x"]
        );
        assert_eq!(words("HTTPServer camelCase"), ["HTTPServer", " camel", "Case"]);
    }

    #[test]
    fn long_blank_runs_take_linear_time() {
        let text = " ".repeat(200_000) + "x";
        assert_eq!(words(&text).len(), 2);
    }
}
