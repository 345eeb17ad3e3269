//! Text that stands where a path belongs and means something else: a URL, a home directory or a
//! variable that only a shell knows. Taken as it stands it would make a folder of that name.

use toml::Spanned;

use super::diagnostic::Problems;

/// Why a text is no path of this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it {what}: {help}")]
pub struct NotAPath {
    /// What it is instead, as in "it is a URL".
    pub what: &'static str,
    /// The same in the few words that stand under a line.
    pub label: &'static str,
    /// What to do.
    pub help: &'static str,
}

/// Ends what is said of a text that could be the name of a file after all.
const OR_AS_IT_STANDS: &str =
    "write the path out, or put `./` in front if the name really begins so";

/// Checks that `text` is a path as it stands: nothing in it is expanded. What begins with `./` is
/// taken for one, so that a file of an odd name can still be named.
///
/// # Errors
/// If it is a URL or another machine's path, begins with `~`, holds a variable, or names a
/// drive.
pub fn check(text: &str) -> Result<(), NotAPath> {
    let not = |what, label, help| Err(NotAPath { what, label, help });
    if text.starts_with("./") {
        return Ok(());
    }
    match text.split_once(':') {
        Some(("file", rest)) if rest.starts_with("//") => {
            return not("is a URL", "expected a path", "write the path alone, without `file://`");
        }
        Some((drive, rest)) if is_drive(drive) && rest.starts_with(['/', '\\']) => {
            return not("is a path of Windows", "expected a path", "write it as Linux names it");
        }
        Some((scheme, rest)) if is_scheme(scheme) && rest.starts_with('/') => {
            return not(
                "is a URL, not a path",
                "expected a path",
                "stores are not supported yet: name a directory or a file of this machine, and \
                 upload or download it yourself",
            );
        }
        Some((host, _)) if host.contains('@') && !host.contains('/') => {
            return not(
                "is a path of another machine",
                "expected a path",
                "only this machine's files are read and written: mount it, or copy them yourself",
            );
        }
        _ => {}
    }
    if text.starts_with('~') {
        return not(
            "begins with `~`, which is not expanded here",
            "only a shell knows `~`",
            OR_AS_IT_STANDS,
        );
    }
    if has_variable(text) {
        return not(
            "holds a variable, which is not expanded here",
            "only a shell knows variables",
            OR_AS_IT_STANDS,
        );
    }
    Ok(())
}

/// Whether `text` is a path as it stands; if not, adds a problem.
pub fn check_spanned(text: &Spanned<String>, problems: &mut Problems) -> bool {
    let path = text.get_ref();
    let (message, label, help) = if path.is_empty() {
        ("an empty path".to_owned(), "expected a path", None)
    } else if path.chars().any(char::is_control) {
        // `"C:\new"` has a line break in it.
        let help = "in TOML, 'single quotes' keep backslashes as they are";
        (format!("{path:?} holds a control character"), "not in a path", Some(help))
    } else if let Err(error) = check(path) {
        (format!("{path:?} {}", error.what), error.label, Some(error.help))
    } else {
        return true;
    };
    problems.add(text.span(), message, label, help.map(str::to_owned));
    false
}

fn is_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter] if letter.is_ascii_alphabetic())
}

/// Whether `text` can stand before the colon of a URL (RFC 3986, 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Whether a shell would put something else in place of a part of `text`: `$NAME`, `${...}`,
/// `$(...)`, `` `...` ``.
fn has_variable(text: &str) -> bool {
    text.contains('`')
        || text.split('$').skip(1).any(|behind| {
            behind.starts_with(|c: char| c.is_ascii_alphabetic() || "_{(".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_path_is_told_apart() {
        for (text, what) in [
            ("s3://bucket/models", "is a URL"),
            ("s3:/bucket/models", "is a URL"),
            ("hf://me/model", "is a URL"),
            ("gs://bucket", "is a URL"),
            ("https://huggingface.co/openai/gpt-oss-20b", "is a URL"),
            ("HTTP://example.org", "is a URL"),
            ("file:///models", "is a URL"),
            ("~", "begins with `~`"),
            ("~/models", "begins with `~`"),
            ("~me/models", "begins with `~`"),
            ("$HOME/models", "holds a variable"),
            ("/data/${USER}/models", "holds a variable"),
            ("$(pwd)/models", "holds a variable"),
            ("`pwd`/models", "holds a variable"),
            ("me@host:models", "is a path of another machine"),
            ("C:\\models", "is a path of Windows"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.what.starts_with(what), "{text}: {error}");
        }
    }

    #[test]
    fn odd_names_of_files_are_names() {
        for text in [
            "models/gpt-oss-20b",
            "/models/All Models/a b.gguf",
            "../x",
            "{name}-{format}.{timestamp}.gguf",
            "a~b~",
            "x/~y",
            "cost$",
            "5$5",
            "12:30",
            "a/b:/c",
            "./~x",
            "./$HOME",
            "./s3://x",
            "ä",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
