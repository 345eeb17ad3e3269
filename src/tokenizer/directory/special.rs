//! Special tokens: which ids they have, and which of them are added to every text.

use serde_json::{Map, Value};

use super::AddedToken;
use crate::tokenizer::TokenizerError;

/// Kinds of special token: the name in `tokenizer_config.json` and the one in GGUF.
const SPECIAL: [(&str, &str); 7] = [
    ("bos", "bos"),
    ("eos", "eos"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("pad", "padding"),
    ("cls", "cls"),
    ("mask", "mask"),
];

/// Kinds of special token for which GGUF has an `add_..._token` key.
const ADDABLE: [&str; 3] = ["bos", "eos", "sep"];

/// Adds what `tokenizer_config.json` says about adding tokens and the post-processor does not.
pub fn add_configured(config: &Map<String, Value>, add_special: &mut Vec<(&'static str, bool)>) {
    for name in ADDABLE {
        if let Some(add) = config.get(&format!("add_{name}_token")).and_then(Value::as_bool)
            && !add_special.iter().any(|(n, _)| *n == name)
        {
            add_special.push((name, add));
        }
    }
}

/// What the post-processor says about `bos` and `eos`. A template may name an `eos` token of its
/// own, which then replaces the configuration's.
pub fn post_processor(
    processor: Option<&Value>,
    config: &mut Map<String, Value>,
) -> Result<Vec<(&'static str, bool)>, TokenizerError> {
    let Some(processor) = processor else { return Ok(Vec::new()) };
    let mut add: Vec<(&'static str, bool)> = Vec::new();
    let nested = processor.get("processors").and_then(Value::as_array);
    for step in nested.map_or(std::slice::from_ref(processor), Vec::as_slice) {
        match step.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => {
                for name in ["bos", "eos"] {
                    if !add.iter().any(|(n, _)| *n == name) {
                        add.push((name, false));
                    }
                }
            }
            Some("TemplateProcessing") => template(step, config, &mut add),
            _ => {
                return Err(TokenizerError::Unsupported {
                    what: "post-processor",
                    expected: "ByteLevel or TemplateProcessing",
                    found: super::kind_of(step),
                });
            }
        }
    }
    Ok(add)
}

/// Whether a template for one text begins with a `bos` and ends with an `eos` token.
fn template(step: &Value, config: &mut Map<String, Value>, add: &mut Vec<(&'static str, bool)>) {
    let Some(single) = step.get("single").and_then(Value::as_array).filter(|s| s.len() > 1) else {
        return;
    };
    let ends = [("bos", single.first()), ("eos", single.last())];
    for (name, part) in ends {
        let Some(token) = part.and_then(|p| p.pointer("/SpecialToken/id")).and_then(Value::as_str)
        else {
            continue;
        };
        let key = format!("{name}_token");
        if name == "eos" || !config.contains_key(&key) {
            config.insert(key.clone(), Value::String(token.to_owned()));
        }
        let adds = config.get(&key).and_then(token_text) == Some(token);
        add.retain(|(n, _)| *n != name);
        add.push((name, adds));
    }
}

/// A token in `tokenizer_config.json`: a string, or an object with its content.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Ids of special tokens: by their text in `tokenizer_config.json`, else from `config.json`.
pub fn ids(
    config: &Map<String, Value>,
    model_config: &Map<String, Value>,
    added: &[AddedToken],
    vocab_size: usize,
) -> Vec<(&'static str, u32)> {
    let by_text = SPECIAL.iter().filter_map(|&(name, gguf)| {
        let text = config.get(&format!("{name}_token")).and_then(token_text)?;
        Some((gguf, added.iter().find(|token| token.content == text)?.id))
    });
    let by_id = SPECIAL.iter().filter_map(|&(name, gguf)| {
        Some((gguf, model_config.get(&format!("{name}_token_id"))?.as_u64()?))
    });
    let mut ids: Vec<(&'static str, u32)> = Vec::new();
    for (name, id) in by_text.chain(by_id) {
        let known = ids.iter().any(|(n, _)| *n == name);
        if !known
            && id < vocab_size as u64
            && let Ok(id) = u32::try_from(id)
        {
            ids.push((name, id));
        }
    }
    ids
}
