//! The fixed prompt of benchmark, load check and comparison: the same text for every file.

use camino::Utf8Path;

use super::StepError;
use crate::tokenizer::{Special, Tokenizer};

/// Tokens of it that load check and comparison read, about.
pub const PROMPT: u64 = 64;

/// Prose, a list, code and numbers, so that a prompt is neither all rare nor all common tokens.
const TEXT: &str = "\
In the beginning of every measurement there is a question. How long does the answer take, and how \
much of the machine does it need? The honest way to find out is to ask the same thing again and \
again, to write down every time, and to say how far the times lie apart.

Three things are worth knowing before the first run:
1. what else the machine is doing;
2. how much memory is free;
3. whether the file has been read before.

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

On the 14th of March the kettle took 187 seconds, on the 15th 191, and on the 16th, with the window \
open and the wind from the north-east, 204. \"It is the wind,\" said the cook. \"It is three numbers,\" \
said the clerk, and put the kettle on once more.
";

/// Exactly `tokens` tokens: the text in the vocabulary of `tokenizer`, with its `bos` where the
/// model wants one, over and over until it is long enough.
///
/// # Errors
/// [`ErrorClass::Input`](crate::steps::ErrorClass::Input) if the vocabulary has no token for any of
/// the text.
pub fn fixed(path: &Utf8Path, tokenizer: &Tokenizer, tokens: usize) -> Result<Vec<u32>, StepError> {
    let text = tokenizer.encode(TEXT, Special::AsText);
    if text.is_empty() {
        return Err(StepError::input(format!(
            "{path}: its vocabulary has no token for any of the fixed prompt's characters; \
            expected a vocabulary that spells English text"
        )));
    }
    let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
    Ok(bos.into_iter().chain(text.into_iter().cycle()).take(tokens).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Vocabulary;

    #[test]
    fn has_the_length_asked_for_and_repeats() {
        let nano =
            Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt-oss-nano"));
        let tokenizer = Tokenizer::new(&Vocabulary::from_directory(nano, 2048).unwrap()).unwrap();
        let prompt = |n| fixed(Utf8Path::new("x.gguf"), &tokenizer, n).unwrap();
        let long = prompt(5000);
        assert_eq!(long.len(), 5000);
        assert_eq!(prompt(7), long[..7]);
        assert!(tokenizer.decode(&long).starts_with("In the beginning of every measurement"));
        assert!(tokenizer.decode(&long).matches("In the beginning").count() >= 2);
    }
}
