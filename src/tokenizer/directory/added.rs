//! Tokens beside the vocabulary: those of `tokenizer.json`, and those that stand only in
//! `tokenizer_config.json`, `added_tokens.json` or `special_tokens_map.json`, with the ids that
//! transformers gives them when it loads a tokenizer (`PreTrainedTokenizerFast`).

use std::collections::HashMap;

use camino::Utf8Path;
use serde_json::{Map, Value};

use super::special::{SPECIAL, token_text};
use super::{AddedToken, optional};
use crate::tokenizer::TokenizerError;

/// All added tokens of the tokenizer in `directory`: `own`, those of `tokenizer.json`, first.
pub fn tokens(
    directory: &Utf8Path,
    config: &Map<String, Value>,
    vocab: &HashMap<String, u64>,
    own: &[AddedToken],
) -> Result<Vec<AddedToken>, TokenizerError> {
    let mut roles = config.clone();
    let mut wanted: Vec<(u64, String, bool)> = Vec::new();
    match config.get("added_tokens_decoder").and_then(Value::as_object) {
        Some(decoder) => {
            for (id, token) in decoder {
                if let (Ok(id), Some(text)) = (id.parse(), token_text(token)) {
                    let special = token.get("special").and_then(Value::as_bool);
                    wanted.push((id, text.to_owned(), special.unwrap_or(false)));
                }
            }
        }
        // Older tokenizers have files of their own for it.
        None => {
            let map: Option<Map<String, Value>> =
                optional(&directory.join("special_tokens_map.json"))?;
            roles.extend(map.unwrap_or_default());
            let ids: Option<HashMap<String, u64>> = optional(&directory.join("added_tokens.json"))?;
            wanted.extend(ids.into_iter().flatten().map(|(text, id)| (id, text, false)));
        }
    }
    wanted.sort();
    let roles = special_texts(&roles);
    let mut tokens = own.to_vec();
    let mut add = |text: &str, special: Option<bool>| {
        let special = |known: bool| special.unwrap_or(known) || roles.contains(&text);
        if let Some(token) = tokens.iter_mut().find(|token| token.content == text) {
            token.special = special(token.special);
            return;
        }
        let after = tokens.iter().map(|token| token.id.saturating_add(1)).max().unwrap_or(0);
        let next = after.max(vocab.len() as u64);
        let id = vocab.get(text).copied().unwrap_or(next);
        tokens.push(AddedToken { id, content: text.to_owned(), special: special(false) });
    };
    // The ids in those files give the order; the next free ones are taken.
    for (_, text, special) in &wanted {
        add(text, Some(*special));
    }
    for text in &roles {
        add(text, None);
    }
    Ok(tokens)
}

/// The texts of the tokens that have a role, in the order in which they get their ids.
fn special_texts(config: &Map<String, Value>) -> Vec<&str> {
    let named = SPECIAL.iter().filter_map(|(name, _)| config.get(&format!("{name}_token")));
    let more = ["additional_special_tokens", "extra_special_tokens"].into_iter();
    let more = more.filter_map(|key| config.get(key)?.as_array()).flatten();
    named.chain(more).filter_map(token_text).filter(|text| !text.is_empty()).collect()
}
