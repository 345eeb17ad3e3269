//! The built-in vocabulary without its long lists, of which a file's size needs the lengths alone:
//! making them takes a second, and a plan makes no file.

use super::o200k::{END, PRE_TOKENIZER, SPECIAL_IDS, chat_templates, check_size};
use super::vocabulary::{MERGES, TOKEN_TYPES, TOKENS, describe, padding, set_special};
use super::{ChatTemplates, TokenizerError};
use crate::gguf::Metadata;

/// How many there are, and bytes in a file of the tokens below [`END`] and of all merges, each with its
/// length.
const MERGES_LEN: usize = 446_189;
const TOKEN_BYTES: u64 = 3_619_741;
const MERGE_BYTES: u64 = 8_517_563;

/// What the keys of the built-in vocabulary, padded to `vocab_size`, take of a file, with these chat
/// templates or, without any, its own.
///
/// # Errors
/// As [`super::Vocabulary::o200k_harmony`].
pub fn o200k_harmony_outline(
    vocab_size: usize,
    chat: ChatTemplates,
) -> Result<Metadata, TokenizerError> {
    check_size(vocab_size)?;
    let mut metadata = Metadata::default();
    describe(PRE_TOKENIZER, &mut metadata);
    let paddings = (END as usize..vocab_size).map(|id| 8 + padding(id).len() as u64);
    metadata.leave_out_array(TOKENS.into(), vocab_size, TOKEN_BYTES + paddings.sum::<u64>());
    metadata.leave_out_array(TOKEN_TYPES.into(), vocab_size, 4 * vocab_size as u64);
    metadata.leave_out_array(MERGES.into(), MERGES_LEN, MERGE_BYTES);
    set_special(&SPECIAL_IDS, &[], &mut metadata);
    let chat = if chat.is_empty() { chat_templates() } else { chat };
    chat.write_to(&mut metadata);
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Layout;
    use crate::tokenizer::Vocabulary;

    #[test]
    fn the_lengths_are_those_of_the_lists() {
        let whole = Vocabulary::o200k_harmony(END as usize).unwrap();
        let bytes = |list: &[String]| list.iter().map(|text| 8 + text.len() as u64).sum::<u64>();
        assert_eq!((bytes(&whole.tokens), bytes(&whole.merges)), (TOKEN_BYTES, MERGE_BYTES));
        assert_eq!(whole.merges.len(), MERGES_LEN);
    }

    #[test]
    fn an_outline_is_as_long_as_the_vocabulary() {
        let own = ChatTemplates { default: Some("own".to_owned()), named: Vec::new() };
        for (vocab_size, chat) in
            [(END as usize, ChatTemplates::default()), (201_088, own.clone()), (1_000_001, own)]
        {
            let mut whole = Vocabulary::o200k_harmony(vocab_size).unwrap();
            if !chat.is_empty() {
                whole.chat = chat.clone();
            }
            let outline = o200k_harmony_outline(vocab_size, chat).unwrap();
            let bytes = |metadata: &Metadata| Layout::new(metadata, &[]).unwrap().file_bytes();
            assert_eq!(bytes(&outline), bytes(&whole.into_metadata()), "{vocab_size}");
            assert!(outline.left_out_bytes() > 10_000_000, "{}", outline.left_out_bytes());
        }
        let small = o200k_harmony_outline(2048, ChatTemplates::default()).unwrap_err();
        assert_eq!(small.to_string(), Vocabulary::o200k_harmony(2048).unwrap_err().to_string());
    }
}
