//! The pre-tokenizer of GPT-4o: cuts text into the words that merging never crosses.

use regex::Regex;

use super::TokenizerError;

/// The published pattern (`tokenizer.json` of gpt-oss, `o200k_base` of tiktoken), to recognise a
/// tokenizer by.
pub const PUBLISHED: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"|\s*[\r\n]+",
    r"|\s+(?!\S)",
    r"|\s+",
);

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
    pub fn new() -> Result<Self, TokenizerError> {
        Regex::new(&PUBLISHED.replace(LOOKAHEAD, ""))
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
        let splitter = Splitter::new().unwrap();
        let words: Vec<&str> = splitter.words(text).collect();
        assert_eq!(words.concat(), text, "no gap, no overlap");
        words
    }

    #[test]
    fn the_look_ahead_is_the_only_difference() {
        assert!(PUBLISHED.contains(LOOKAHEAD));
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
