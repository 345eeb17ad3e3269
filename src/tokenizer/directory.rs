//! A vocabulary from `tokenizer.json` and its companions, as llama.cpp's converter makes it
//! (`conversion/base.py`, `get_vocab_base`; gguf-py's `vocab.py`, `SpecialVocab`).

mod added;
mod chat;
mod special;

use std::collections::HashMap;

use camino::Utf8Path;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::split::PreTokenizer;
use super::{ChatTemplates, TokenType, TokenizerError, Vocabulary};
use crate::downloads::{json, read_text, read_text_if_there};

/// Bytes that a tokenizer's file has at most; the published one of gpt-oss has 28 million.
const LARGEST_FILE: u64 = 512 << 20;

#[derive(Deserialize)]
struct TokenizerJson {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u64>,
    #[serde(default)]
    merges: Vec<Merge>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
}

/// A merge in either of the two encodings of `tokenizer.json`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair([String; 2]),
}

#[derive(Clone, Deserialize)]
struct AddedToken {
    id: u64,
    content: String,
    #[serde(default)]
    special: bool,
}

/// Reads the vocabulary in `directory`, padded to `vocab_size`.
pub fn read(directory: &Utf8Path, vocab_size: usize) -> Result<Vocabulary, TokenizerError> {
    let tokenizer: TokenizerJson = required(&directory.join("tokenizer.json"))?;
    let mut config = configuration(directory)?;
    let model_config: Map<String, Value> =
        optional(&directory.join("config.json"))?.unwrap_or_default();
    let pre = check_supported(&tokenizer)?;

    let (vocab, own) = (&tokenizer.model.vocab, &tokenizer.added_tokens);
    let added = added::tokens(directory, &config, vocab, own)?;
    let (tokens, token_types) = tokens(vocab, &added, vocab_size)?;
    let mut processed = special::post_processor(tokenizer.post_processor.as_ref(), &mut config)?;
    processed.add_configured(&config);
    Ok(Vocabulary {
        pre,
        special_ids: special::ids(&config, &processed, &model_config, own, vocab_size),
        add_special: processed.add,
        chat: chat::templates(directory, &config)?,
        merges: tokenizer.model.merges.into_iter().map(Merge::joined).collect(),
        tokens,
        token_types,
    })
}

/// The chat templates in `directory`.
pub fn chat_templates(directory: &Utf8Path) -> Result<ChatTemplates, TokenizerError> {
    chat::templates(directory, &configuration(directory)?)
}

/// `tokenizer_config.json`; empty where there is none.
fn configuration(directory: &Utf8Path) -> Result<Map<String, Value>, TokenizerError> {
    Ok(optional(&directory.join("tokenizer_config.json"))?.unwrap_or_default())
}

impl Merge {
    /// `"left right"`, with a space inside a part written as byte-level characters write it.
    fn joined(self) -> String {
        match self {
            Self::Joined(merge) => merge,
            Self::Pair(parts) => parts.map(|part| part.replace(' ', "Ġ")).join(" "),
        }
    }
}

/// How a tokenizer splits text. Refuses those that encode in another way than ours does.
fn check_supported(tokenizer: &TokenizerJson) -> Result<&'static PreTokenizer, TokenizerError> {
    let unsupported = |what, expected: &str, found: String| {
        Err(TokenizerError::Unsupported { what, expected: expected.to_owned(), found })
    };
    let model = &tokenizer.model;
    // Old files leave the type out: what has merges is BPE.
    if model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
        let found = model.kind.clone().unwrap_or_default();
        return unsupported("tokenizer model", "BPE", found);
    }
    if model.continuing_subword_prefix.as_deref().is_some_and(|p| !p.is_empty())
        || model.end_of_word_suffix.as_deref().is_some_and(|s| !s.is_empty())
        || model.byte_fallback
    {
        return unsupported(
            "tokenizer model",
            "byte-level BPE",
            "BPE with a prefix, a suffix or byte fallback".to_owned(),
        );
    }
    if let Some(normalizer) = &tokenizer.normalizer {
        return unsupported("normalizer", "none", kind_of(normalizer));
    }
    let patterns = tokenizer.pre_tokenizer.as_ref().map(split_patterns).unwrap_or_default();
    PreTokenizer::of_patterns(&patterns)
}

/// The patterns that a pre-tokenizer splits by, in order.
fn split_patterns(pre_tokenizer: &Value) -> Vec<&str> {
    let steps = pre_tokenizer.get("pretokenizers").and_then(Value::as_array);
    let own = pre_tokenizer.pointer("/pattern/Regex").and_then(Value::as_str);
    own.into_iter().chain(steps.into_iter().flatten().flat_map(split_patterns)).collect()
}

fn kind_of(value: &Value) -> String {
    value.get("type").and_then(Value::as_str).unwrap_or("one without a type").to_owned()
}

/// Text and type of every token up to `vocab_size`.
fn tokens(
    vocab: &HashMap<String, u64>,
    added: &[AddedToken],
    vocab_size: usize,
) -> Result<(Vec<String>, Vec<TokenType>), TokenizerError> {
    let mut tokens: Vec<Option<(&str, TokenType)>> = vec![None; vocab_size];
    let place = |token: &str, id: u64| -> Result<usize, TokenizerError> {
        usize::try_from(id).ok().filter(|&id| id < vocab_size).ok_or_else(|| {
            TokenizerError::OutOfVocabulary { token: token.to_owned(), id, vocab_size }
        })
    };
    for (token, &id) in vocab {
        let at = place(token, id)?;
        if let Some((first, _)) = tokens[at].replace((token, TokenType::Normal)) {
            // Named in a fixed order: a map's own order changes from run to run.
            let (first, second) = if first < token.as_str() {
                (first, token.as_str())
            } else {
                (token.as_str(), first)
            };
            return Err(TokenizerError::DuplicateId {
                first: first.to_owned(),
                second: second.to_owned(),
                id,
            });
        }
    }
    for token in added {
        let at = place(&token.content, token.id)?;
        let kind = if token.special || looks_special(&token.content) {
            TokenType::Control
        } else {
            TokenType::UserDefined
        };
        if let Some((first, _)) = tokens[at].replace((&token.content, kind))
            && first != token.content
        {
            return Err(TokenizerError::DuplicateId {
                first: first.to_owned(),
                second: token.content.clone(),
                id: token.id,
            });
        }
    }
    Ok(tokens
        .into_iter()
        .enumerate()
        .map(|(id, token)| match token {
            Some((text, TokenType::UserDefined)) => {
                (text.replace('\u{2581}', " "), TokenType::UserDefined)
            }
            Some((text, kind)) => (text.to_owned(), kind),
            None => (format!("[PAD{id}]"), TokenType::Unused),
        })
        .unzip())
}

/// Whether an added token that is not marked special ought to be (`does_token_look_special`).
fn looks_special(token: &str) -> bool {
    let wrapped = |open, close| token.starts_with(open) && token.ends_with(close);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&token)
        || wrapped("<|", "|>")
        || wrapped("<｜", "｜>")
        || wrapped("<unused", ">")
}

/// A JSON file that must be there.
fn required<T: DeserializeOwned>(path: &Utf8Path) -> Result<T, TokenizerError> {
    parse(path, &read_text(path, LARGEST_FILE)?)
}

/// A JSON file, or `None` where there is none.
fn optional<T: DeserializeOwned>(path: &Utf8Path) -> Result<Option<T>, TokenizerError> {
    read_text_if_there(path, LARGEST_FILE)?.map(|text| parse(path, &text)).transpose()
}

fn parse<T: DeserializeOwned>(path: &Utf8Path, text: &str) -> Result<T, TokenizerError> {
    json::from_str(text).map_err(|source| TokenizerError::Json { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
