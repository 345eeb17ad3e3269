//! JSON as Python's `json` module writes it: with `NaN`, `Infinity` and `-Infinity`, which JSON does
//! not have.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

/// Parses `text`. What Python writes for numbers that JSON does not have becomes a string: passed
/// over where nobody asks for the key, and named with its line where a number is expected.
///
/// # Errors
/// If it is not JSON otherwise, or not a `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    match serde_json::from_str(text) {
        // Only then is it worth a pass over a text that may have many megabytes.
        Err(e) if e.is_syntax() => match quote_constants(text) {
            Cow::Owned(quoted) => serde_json::from_str(&quoted),
            Cow::Borrowed(_) => Err(e),
        },
        result => result,
    }
}

/// The text with `"` around every `NaN`, `Infinity` and `-Infinity` that is not in a string, so that
/// it is JSON. Lines stay what they are.
pub fn quote_constants(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            // Whatever is escaped, it does not end the string.
            b'\\' if in_string => at += 1,
            b'N' | b'I' | b'-' if !in_string => {
                let found = ["NaN", "Infinity", "-Infinity"]
                    .into_iter()
                    .find(|constant| bytes[at..].starts_with(constant.as_bytes()));
                if let Some(constant) = found {
                    out.push_str(&text[copied..at]);
                    out.push('"');
                    out.push_str(constant);
                    out.push('"');
                    at += constant.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn constants_of_python_are_passed_over() {
        let text =
            "{\"a\": NaN, \"b\":[Infinity,-Infinity, -1], \"NaN\": \"x\\\\\\\" NaN\", \"c\": 2}";
        let expected = json!({
            "a": "NaN", "b": ["Infinity", "-Infinity", -1], "NaN": "x\\\" NaN", "c": 2
        });
        assert_eq!(from_str::<Value>(text).unwrap(), expected);
        assert!(matches!(quote_constants("{\"NaN\": \"-Infinity\\\\\"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn where_a_number_is_expected_they_are_named_with_their_line() {
        #[derive(Debug, serde::Deserialize)]
        struct Numbers {
            #[expect(dead_code, reason = "only read")]
            theta: f32,
        }
        let error = from_str::<Numbers>("{\"x\": Infinity,\n\"theta\": NaN}").unwrap_err();
        assert!(error.to_string().contains("\"NaN\"") && error.line() == 2, "{error}");
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in ["", "NaNs", "{\"a\": nan}", "{\"a\": NaN", "[-Infinity}", "\"NaN", "\"\\"] {
            assert!(from_str::<Value>(text).is_err(), "{text}");
        }
        let error = from_str::<Value>("{\n  'a': 1}").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 3));
    }
}
