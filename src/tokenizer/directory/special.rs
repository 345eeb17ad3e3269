//! Special tokens: which ids they have, and which of them are added to every text.

use serde_json::{Map, Value};

use super::AddedToken;
use crate::tokenizer::TokenizerError;

/// Kinds of special token: the name in `tokenizer_config.json`, and the one in GGUF where gguf-py
/// writes it.
pub const SPECIAL: [(&str, Option<&str>); 7] = [
    ("bos", Some("bos")),
    ("eos", Some("eos")),
    ("unk", Some("unknown")),
    ("sep", Some("seperator")),
    ("pad", Some("padding")),
    ("cls", None),
    ("mask", Some("mask")),
];

/// Kinds that the configured `eos` token becomes, one after the other, where a template has another.
const MOVED: [(&str, Option<&str>); 2] = [("eot", Some("eot")), ("eom", Some("eom"))];

/// Kinds of special token for which GGUF has an `add_..._token` key.
const ADDABLE: [&str; 3] = ["bos", "eos", "sep"];

/// What a post-processor makes of the configuration.
#[derive(Default)]
pub struct Processed {
    /// Whether a `bos` (`eos`, `sep`) token is added to every text.
    pub add: Vec<(&'static str, bool)>,
    /// How many of [`MOVED`] it has made.
    moved: usize,
}

impl Processed {
    /// Adds what `tokenizer_config.json` says about adding tokens and the post-processor does not.
    pub fn add_configured(&mut self, config: &Map<String, Value>) {
        for name in ADDABLE {
            if let Some(add) = config.get(&format!("add_{name}_token")).and_then(Value::as_bool)
                && !self.add.iter().any(|(n, _)| *n == name)
            {
                self.add.push((name, add));
            }
        }
    }

    fn set(&mut self, name: &'static str, add: bool) {
        match self.add.iter_mut().find(|(n, _)| *n == name) {
            Some((_, known)) => *known = add,
            None => self.add.push((name, add)),
        }
    }
}

/// What the post-processor says about special tokens. A template may name a `bos` or `eos` token of
/// its own, which then goes into the configuration.
pub fn post_processor(
    processor: Option<&Value>,
    config: &mut Map<String, Value>,
) -> Result<Processed, TokenizerError> {
    let mut processed = Processed::default();
    for (key, stand_in) in [("bos_token", "cls_token"), ("eos_token", "sep_token")] {
        if !has(config, key) && has(config, stand_in) {
            config.insert(key.to_owned(), config[stand_in].clone());
        }
    }
    let Some(processor) = processor else { return Ok(processed) };
    let nested = processor.get("processors").and_then(Value::as_array);
    for step in nested.map_or(std::slice::from_ref(processor), Vec::as_slice) {
        match step.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => {
                for name in ["bos", "eos"] {
                    if !processed.add.iter().any(|(n, _)| *n == name) {
                        processed.add.push((name, false));
                    }
                }
            }
            Some("TemplateProcessing") => template(step, config, &mut processed),
            _ => {
                return Err(TokenizerError::Unsupported {
                    what: "post-processor",
                    expected: "ByteLevel or TemplateProcessing".to_owned(),
                    found: super::kind_of(step),
                });
            }
        }
    }
    Ok(processed)
}

/// Whether a template for one text begins with a `bos` and ends with an `eos` token, and whether one
/// for two has a `sep` between them.
fn template(step: &Value, config: &mut Map<String, Value>, processed: &mut Processed) {
    let parts = |key: &str| step.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (mut first, mut last) = (None, None);
    let single = parts("single");
    if single.len() > 1 {
        (first, last) = (single.first().and_then(special), single.last().and_then(special));
    }
    // A token that is written as an object is never the same as the template's text.
    let is = |config: &Map<String, Value>, key: &str, token: &str| {
        config.get(key).and_then(Value::as_str) == Some(token)
    };
    // Without a configuration the template is all that is known.
    let unset: &[&str] =
        if config.is_empty() { &["bos_token"] } else { &["bos_token", "cls_token"] };
    if let Some(token) = first {
        let known = |config: &_| is(config, "bos_token", token) || is(config, "cls_token", token);
        if !known(config) {
            for &key in unset {
                if !has(config, key) {
                    config.insert(key.to_owned(), token.into());
                }
            }
        }
        processed.set("bos", known(config));
    }
    if let Some(token) = last {
        if !is(config, "eos_token", token)
            && let Some(eos) = config.insert("eos_token".to_owned(), token.into())
            && let Some((name, _)) = MOVED.get(processed.moved)
        {
            config.insert(format!("{name}_token"), eos);
            processed.moved += 1;
        }
        processed.set("eos", true);
    }
    let separators: Vec<&str> = ["sep_token", "eos_token"]
        .into_iter()
        .filter_map(|key| config.get(key)?.as_str())
        .collect();
    if let Some(add) = separates(parts("pair"), first, last, &separators) {
        processed.set("sep", add);
        if add
            && !has(config, "sep_token")
            && let Some(eos) = config.get("eos_token").cloned()
        {
            config.insert("sep_token".to_owned(), eos);
        }
    }
}

/// The special token that a part of a template is.
fn special(part: &Value) -> Option<&str> {
    part.pointer("/SpecialToken/id")?.as_str()
}

/// Whether a template for two texts has a separator of its own between them; `None` where it does
/// not have the usual form.
fn separates(
    pair: &[Value],
    first: Option<&str>,
    last: Option<&str>,
    separators: &[&str],
) -> Option<bool> {
    let is = |part: Option<&Value>, token: Option<&str>| {
        token.is_some() && part.and_then(special) == token
    };
    let start = usize::from(is(pair.first(), first));
    let end = pair.len() - usize::from(is(pair.last(), last));
    let [a, between @ .., b] = pair.get(start..end)? else { return None };
    let sequence = |part: &Value, id: &str| part.pointer("/Sequence/id") == Some(&id.into());
    if between.is_empty() || !sequence(a, "A") || !sequence(b, "B") {
        return None;
    }
    let separator = |part: &Value| special(part).is_some_and(|token| separators.contains(&token));
    let second = matches!(between, [_, second] if separator(second));
    Some(second || (last.is_none() && separator(&between[0])))
}

/// Whether the configuration has a token under `key`.
fn has(config: &Map<String, Value>, key: &str) -> bool {
    config.get(key).and_then(token_text).is_some_and(|text| !text.is_empty())
}

/// A token in `tokenizer_config.json`: a string, or an object with its content.
pub fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Ids of special tokens: by their text in `tokenizer_config.json`, else from `config.json`.
pub fn ids(
    config: &Map<String, Value>,
    processed: &Processed,
    model_config: &Map<String, Value>,
    added: &[AddedToken],
    vocab_size: usize,
) -> Vec<(&'static str, u32)> {
    let kinds = || SPECIAL.iter().chain(&MOVED[..processed.moved]);
    let by_text = kinds().filter_map(|&(name, gguf)| {
        let text = config.get(&format!("{name}_token")).and_then(token_text)?;
        Some((gguf?, added.iter().find(|token| token.content == text)?.id))
    });
    let by_id = kinds().filter_map(|&(name, gguf)| {
        Some((gguf?, model_config.get(&format!("{name}_token_id"))?.as_u64()?))
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
