//! Text from tokens as they come: a character whose bytes are spread over several tokens appears
//! when it is whole.

use super::Tokenizer;

/// Turns tokens into text piece by piece; see [`Tokenizer::stream`].
pub struct TextStream<'t> {
    tokenizer: &'t Tokenizer,
    /// The beginning of a character that is not whole yet.
    pending: Vec<u8>,
}

impl<'t> TextStream<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, pending: Vec::new() }
    }

    /// The text that `token` completes; empty in the middle of a character.
    pub fn push(&mut self, token: u32) -> String {
        self.pending.extend_from_slice(self.tokenizer.bytes(token));
        let whole = whole_characters(&self.pending);
        let text = String::from_utf8_lossy(&self.pending[..whole]).into_owned();
        self.pending.drain(..whole);
        text
    }

    /// What is left when no more tokens come: nothing, or the replacement character.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many of `bytes` come before a character that more bytes could still complete.
fn whole_characters(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match std::str::from_utf8(&bytes[at..]) {
            Ok(_) => return bytes.len(),
            Err(e) => match e.error_len() {
                Some(wrong) => at += e.valid_up_to() + wrong,
                None => return at + e.valid_up_to(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::whole_characters;

    #[test]
    fn only_an_unfinished_end_waits() {
        assert_eq!(whole_characters("aé".as_bytes()), 3);
        assert_eq!(whole_characters(&"aé".as_bytes()[..2]), 1);
        assert_eq!(whole_characters(b"\xff\xffa\xf0\x9f"), 3);
        assert_eq!(whole_characters(b""), 0);
    }
}
