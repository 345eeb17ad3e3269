//! The commonest slip in a manifest: a regular expression or a Windows path in double quotes, where
//! TOML takes a backslash for the start of an escape.

/// What to do about `message`, which the TOML parser says of the byte at `at` of `text`; nothing
/// where it is not about an escape.
pub fn help(message: &str, text: &str, at: usize) -> Option<String> {
    // Its words for an escape that TOML does not have, and for `\u` and `\x` without digits.
    let of_escapes = ["missing escaped value", "too few unicode value digits", "invalid escape"];
    if !of_escapes.iter().any(|start| message.starts_with(start)) {
        return None;
    }
    Some(match string_around(text, at).filter(|string| !string.contains('\'')) {
        Some(string) => {
            // Where some were doubled already, as they have to be in double quotes.
            let string = string.replace("\\\\", "\\");
            format!("in single quotes a backslash is itself: '{string}'")
        }
        None => "write `\\\\` for a backslash".to_owned(),
    })
}

/// What stands in the double quotes around the byte at `at`, if they are in one line.
fn string_around(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next()?;
    let at = at - start;
    let mut opened: Option<(usize, char)> = None;
    let mut chars = line.char_indices();
    while let Some((i, c)) = chars.next() {
        match (opened, c) {
            (None, '#') => return None,
            (None, '"' | '\'') => opened = Some((i + 1, c)),
            (Some((_, '"')), '\\') => drop(chars.next()),
            (Some((from, quote)), c) if c == quote => {
                if (from..i).contains(&at) {
                    return (quote == '"').then(|| &line[from..i]);
                }
                opened = None;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_string_is_shown_as_it_should_be_written() {
        let text = "a = \"x\"\nb = ['\\d', \"^output\\.weight\\\\.$\"] # \"\n";
        let at = text.find("\\.").unwrap() + 1;
        let shown = help("missing escaped value, expected `b`", text, at).unwrap();
        assert_eq!(shown, "in single quotes a backslash is itself: '^output\\.weight\\.$'");
        assert_eq!(help("key with no value", text, at), None);
        // Single quotes would end it, or it is not closed in its line, or not there at all.
        for text in ["\"it's \\.\"", "\"\\.", "\\.", "", "ü\\"] {
            let help = help("missing escaped value", text, text.len() / 2).unwrap();
            assert_eq!(help, "write `\\\\` for a backslash", "{text}");
        }
    }
}
