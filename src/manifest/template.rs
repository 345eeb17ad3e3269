//! Placeholders in paths: `{name}`, `{format}`, `{timestamp}`.

use std::ops::Range;

use toml::Spanned;

use super::diagnostic::Problems;
use crate::words::did_you_mean;

/// Checks that `text` has no placeholder but `allowed` and no lone brace, and answers with those
/// that it has.
pub fn check<'a>(
    text: &'a Spanned<String>,
    allowed: &[&str],
    problems: &mut Problems,
) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text.get_ref().as_str();
    while let Some(open) = rest.find(['{', '}']) {
        let inside = rest[open..].strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let Some((placeholder, behind)) = inside else {
            problems.add(
                text.span(),
                format!("lone brace in {:?}", text.get_ref()),
                "here",
                Some(format!("placeholders here: {}", listed(allowed))),
            );
            return found;
        };
        if allowed.contains(&placeholder) {
            found.push(placeholder);
        } else {
            problems.add(
                inside_of(text, placeholder),
                format!("unknown placeholder `{{{placeholder}}}`"),
                "not known here",
                did_you_mean(placeholder, allowed.iter().copied())
                    .or_else(|| Some(format!("placeholders here: {}", listed(allowed)))),
            );
        }
        rest = behind;
    }
    found
}

fn listed(allowed: &[&str]) -> String {
    let braced: Vec<String> = allowed.iter().map(|name| format!("{{{name}}}")).collect();
    braced.join(", ")
}

/// The span of `part` inside a string whose source text has no escapes before it; else the
/// string's.
fn inside_of(text: &Spanned<String>, part: &str) -> Range<usize> {
    let span = text.span();
    let quotes = span.len().saturating_sub(text.get_ref().len());
    match text.get_ref().find(&format!("{{{part}}}")) {
        Some(at) if quotes == 2 => {
            let start = span.start + 1 + at;
            start..start + part.len() + 2
        }
        _ => span,
    }
}

/// `text` with each placeholder of `values` filled in.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// The first placeholder of any path that is in `text`, which is no template.
pub fn first_in(text: &str) -> Option<&'static str> {
    ["{name}", "{format}", "{timestamp}"].into_iter().find(|placeholder| text.contains(placeholder))
}
