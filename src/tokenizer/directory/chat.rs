//! Chat templates, where gguf-py's `SpecialVocab` looks for them. Other than that it also reads them
//! where there is no `tokenizer_config.json`, or where that says `null`: there the converter drops
//! a template that is published, and conversations would be formatted in another way.

use camino::Utf8Path;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{LARGEST_FILE, optional};
use crate::downloads::{ReadError, names_in, read_text, read_text_if_there};
use crate::tokenizer::{ChatTemplates, TokenizerError};

/// The folder of the templates beside `chat_template.jinja`.
const MORE: &str = "additional_chat_templates";

/// One of several templates in a list.
#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// The templates of the tokenizer in `directory`, whose `tokenizer_config.json` is `config`.
pub fn templates(
    directory: &Utf8Path,
    config: &Map<String, Value>,
) -> Result<ChatTemplates, TokenizerError> {
    if let Some(found) = config.get("chat_template").and_then(from_json) {
        return Ok(found);
    }
    if let Some(default) = read_text_if_there(&directory.join("chat_template.jinja"), LARGEST_FILE)?
    {
        return Ok(ChatTemplates { default: Some(default), named: additional(directory)? });
    }
    let file: Option<Map<String, Value>> = optional(&directory.join("chat_template.json"))?;
    Ok(file.and_then(|file| from_json(file.get("chat_template")?)).unwrap_or_default())
}

/// One template, or a list of named ones.
fn from_json(value: &Value) -> Option<ChatTemplates> {
    let list = match value {
        Value::String(one) => {
            return Some(ChatTemplates { default: Some(one.clone()), named: Vec::new() });
        }
        Value::Array(list) => list,
        _ => return None,
    };
    let mut found = ChatTemplates::default();
    for entry in list.iter().filter_map(|entry| Named::deserialize(entry).ok()) {
        match entry.name.as_str() {
            "" => {}
            "default" => found.default = Some(entry.template),
            _ => found.named.push((entry.name, entry.template)),
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The templates in files of their own, by the names of those.
fn additional(directory: &Utf8Path) -> Result<Vec<(String, String)>, TokenizerError> {
    let folder = directory.join(MORE);
    let names = match names_in(&folder) {
        Ok(names) => names,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ReadError::Io { path: folder, source }.into()),
    };
    let mut named = Vec::new();
    for name in &names {
        if let Some(stem) = name.strip_suffix(".jinja") {
            named.push((stem.to_owned(), read_text(&folder.join(name), LARGEST_FILE)?));
        }
    }
    Ok(named)
}
