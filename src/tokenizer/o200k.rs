//! The built-in vocabulary of gpt-oss, o200k_harmony: the ranks of o200k_base, the special tokens of
//! the harmony format, and the template that writes conversations in it.

use std::collections::HashMap;

use super::split::PreTokenizer;
use super::{ChatTemplates, TokenType, TokenizerError, Vocabulary, byte_level};

/// Tokens with a rank; their ids are their ranks.
const RANKED: u32 = 199_998;

/// Special tokens with a name, from `openai_harmony` and the published `tokenizer.json`; those
/// between them are `<|reserved_ID|>`.
const NAMED: [(u32, &str); 10] = [
    (199_998, "<|startoftext|>"),
    (199_999, "<|endoftext|>"),
    (200_002, "<|return|>"),
    (200_003, "<|constrain|>"),
    (200_005, "<|channel|>"),
    (200_006, "<|start|>"),
    (200_007, "<|end|>"),
    (200_008, "<|message|>"),
    (200_012, "<|call|>"),
    (200_018, "<|endofprompt|>"),
];

/// How gpt-oss formats a conversation: OpenAI's own template, published with the weights under the
/// Apache License 2.0; byte for byte `models/templates/openai-gpt-oss-120b.jinja` in llama.cpp.
const CHAT_TEMPLATE: &str = include_str!("gpt-oss.jinja");

/// How it splits text.
pub(super) const PRE_TOKENIZER: &str = "gpt-4o";

/// One more than the last special token.
pub(super) const END: u32 = 200_019;

/// Special tokens under GGUF's names.
pub(super) const SPECIAL_IDS: [(&str, u32); 3] =
    [("bos", 199_998), ("eos", 200_002), ("padding", 199_999)];

/// The chat template that comes with it.
pub(super) fn chat_templates() -> ChatTemplates {
    ChatTemplates { default: Some(CHAT_TEMPLATE.to_owned()), named: Vec::new() }
}

/// Refuses a model with fewer tokens.
pub(super) fn check_size(vocab_size: usize) -> Result<(), TokenizerError> {
    if vocab_size < END as usize {
        return Err(TokenizerError::OutOfVocabulary {
            token: "<|endofprompt|>".to_owned(),
            id: u64::from(END - 1),
            vocab_size,
        });
    }
    Ok(())
}

/// The vocabulary, padded to `vocab_size`.
pub fn vocabulary(vocab_size: usize) -> Result<Vocabulary, TokenizerError> {
    check_size(vocab_size)?;
    #[cfg(test)]
    MADE.with(|made| made.set(made.get() + 1));
    let ranked = ranked()?;
    let merges = merges(&ranked);
    let mut tokens: Vec<String> = ranked.iter().map(|t| byte_level::from_bytes(t)).collect();
    let mut token_types = vec![TokenType::Normal; tokens.len()];
    for id in RANKED..END {
        let named = NAMED.iter().find(|(named, _)| *named == id);
        tokens.push(named.map_or_else(|| format!("<|reserved_{id}|>"), |(_, n)| (*n).to_owned()));
        token_types.push(TokenType::Control);
    }
    let mut vocabulary = Vocabulary {
        pre: PreTokenizer::named(PRE_TOKENIZER)?,
        tokens,
        token_types,
        merges,
        special_ids: SPECIAL_IDS.to_vec(),
        add_special: Vec::new(),
        chat: chat_templates(),
    };
    vocabulary.pad(vocab_size);
    Ok(vocabulary)
}

#[cfg(test)]
thread_local! {
    /// How often this thread made the vocabulary, for tests of those that should not.
    pub(crate) static MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The bytes of every ranked token, by rank.
fn ranked() -> Result<Vec<Vec<u8>>, TokenizerError> {
    let broken = |reason: String| TokenizerError::Build { what: "o200k_harmony", reason };
    let ranks = tiktoken_rs::o200k_base().map_err(|e| broken(e.to_string()))?;
    (0..RANKED).map(|rank| ranks.decode_bytes(&[rank]).map_err(|e| broken(e.to_string()))).collect()
}

/// Every split of every token into two tokens: in the order of the joined token's rank, then of
/// the left and the right part's (`extract_vocab_merges_from_model` in transformers'
/// `convert_slow_tokenizer.py`, which made the published `tokenizer.json`).
fn merges(ranked: &[Vec<u8>]) -> Vec<String> {
    let ranks: HashMap<&[u8], usize> =
        ranked.iter().enumerate().map(|(rank, token)| (token.as_slice(), rank)).collect();
    let mut merges = Vec::new();
    let mut splits = Vec::new();
    for token in ranked {
        splits.clear();
        splits.extend((1..token.len()).filter_map(|at| {
            let (left, right) = token.split_at(at);
            Some((*ranks.get(left)?, *ranks.get(right)?))
        }));
        splits.sort_unstable();
        merges.extend(splits.iter().map(|&(left, right)| {
            let mut merge = byte_level::from_bytes(&ranked[left]);
            merge.push(' ');
            merge.push_str(&byte_level::from_bytes(&ranked[right]));
            merge
        }));
    }
    merges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{Special, Tokenizer};

    #[derive(serde::Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
    }

    #[test]
    fn texts_get_the_published_ids_and_come_back() {
        let vocabulary = vocabulary(201_088).unwrap();
        assert_eq!(vocabulary.tokens.len(), 201_088);
        assert_eq!(vocabulary.merges.len(), 446_189);
        assert_eq!(vocabulary.tokens[200_018], "<|endofprompt|>");
        assert_eq!(vocabulary.tokens[200_017], "<|reserved_200017|>");
        assert_eq!(vocabulary.tokens[201_087], "[PAD201087]");

        let tokenizer = Tokenizer::new(&vocabulary).unwrap();
        let cases: Vec<Case> = serde_json::from_str(include_str!(
            "../../tests/fixtures/oracle/o200k_harmony_cases.json"
        ))
        .unwrap();
        assert!(cases.len() > 20);
        for Case { text, ids } in cases {
            assert_eq!(tokenizer.encode(&text, Special::Parse), ids, "{text:?}");
            assert_eq!(tokenizer.decode(&ids), text);
        }
        assert_eq!(tokenizer.end_of_generation(), [199_999, 200_002, 200_012]);
    }

    /// The keys of the published conversions of gpt-oss, in their order.
    #[test]
    fn metadata_is_that_of_the_published_tokenizer() {
        let metadata = vocabulary(201_088).unwrap().into_metadata();
        let keys: Vec<&str> = metadata.iter().map(|(key, _)| key).collect();
        let published = [
            "tokenizer.ggml.model",
            "tokenizer.ggml.pre",
            "tokenizer.ggml.tokens",
            "tokenizer.ggml.token_type",
            "tokenizer.ggml.merges",
            "tokenizer.ggml.bos_token_id",
            "tokenizer.ggml.eos_token_id",
            "tokenizer.ggml.padding_token_id",
            "tokenizer.chat_template",
        ];
        assert_eq!(keys, published);
        // SHA-256 of `models/templates/openai-gpt-oss-120b.jinja` in llama.cpp b11434.
        let template = metadata.str("tokenizer.chat_template").unwrap();
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(template));
        assert_eq!(digest, "a4c9919cbbd4acdd51ccffe22da049264b1b73e59055fa58811a99efbd7c8146");
    }

    #[test]
    fn a_smaller_model_is_refused() {
        let error = vocabulary(2048).unwrap_err().to_string();
        assert!(error.contains("2048 tokens") && error.contains("another model"), "{error}");
    }
}
