//! What a checkpoint's `README.md` says about it in its front matter, under the keys that llama.cpp's
//! converter carries into the file (`Metadata.apply_metadata_heuristic` in gguf-py's `metadata.py`).

use std::rc::Rc;

use camino::Utf8Path;

use super::error::Error;
use super::front_matter::{self, Node};
use super::model_id::{ModelId, title};
use crate::downloads::{ReadError, read_text_if_there};

/// Longest card that is read, in bytes.
const MAX_CARD: u64 = 64 << 20;

/// Keys of a base model or data set in GGUF, in the order in which a file has them.
const RELATED: [&str; 9] =
    ["name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"];

/// The card of a model.
#[derive(Debug)]
pub struct ModelCard(Node);

/// A base model or data set: values under some of [`RELATED`].
pub type Related = Vec<(&'static str, String)>;

impl ModelCard {
    /// Reads the card of the checkpoint in `directory`; one without says nothing. One that cannot be
    /// understood says nothing either, and `warnings` that it does not: no model fails for its card.
    ///
    /// # Errors
    /// If there is one and reading it fails.
    pub fn read(directory: &Utf8Path, warnings: &mut Vec<String>) -> Result<Self, Error> {
        let path = directory.join("README.md");
        let parsed = match read_text_if_there(&path, MAX_CARD) {
            Ok(None) => return Ok(Self(Node::Null)),
            Ok(Some(text)) => front_matter::parse(&text).map_err(|what| format!("{path}: {what}")),
            Err(e @ ReadError::Io { .. }) => return Err(e.into()),
            Err(e) => Err(e.to_string()),
        };
        Ok(Self(parsed.map_or_else(
            |reason| {
                warnings.push(format!("what the model card says is left out: {reason}"));
                Node::Null
            },
            |card| card.unwrap_or(Node::Null),
        )))
    }

    /// The value under the first of `keys` that has one. A truth value is one that says nothing.
    pub fn text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| match self.0.get(key)? {
            Node::Text(text) => Some(text.clone()),
            Node::Bool(_) => Some(String::new()),
            Node::Null | Node::List(_) | Node::Map(_) => None,
        })
    }

    /// The licence; several are joined by commas.
    pub fn license(&self) -> Option<String> {
        match self.0.get("license") {
            Some(Node::List(items)) => Some(texts(items).join(",")),
            _ => self.text(&["license"]),
        }
    }

    /// The values under all of `keys`: one, or a list of them, each.
    pub fn all(&self, keys: &[&str]) -> Vec<String> {
        let values = keys.iter().filter_map(|key| self.0.get(key));
        values
            .flat_map(|value| match value {
                Node::Text(text) => vec![text.clone()],
                Node::List(items) => texts(items),
                Node::Null | Node::Bool(_) | Node::Map(_) => Vec::new(),
            })
            .collect()
    }

    /// The base models or data sets under the first of `keys` that is there at all; of a model of so
    /// many `parameters`.
    pub fn related(&self, keys: &[&str], parameters: u64) -> Option<Vec<Related>> {
        Some(match keys.iter().find_map(|key| self.0.get(key))? {
            Node::Text(id) => vec![from_id(id, parameters)],
            Node::List(items) => items.iter().map(|item| from_item(item, parameters)).collect(),
            Node::Null | Node::Bool(_) | Node::Map(_) => Vec::new(),
        })
    }
}

/// The items of a list that are text, or look like it.
fn texts(items: &[Rc<Node>]) -> Vec<String> {
    let text = |item: &Rc<Node>| match &**item {
        Node::Text(text) | Node::Bool(text) => Some(text.clone()),
        Node::Null | Node::List(_) | Node::Map(_) => None,
    };
    items.iter().filter_map(text).collect()
}

fn from_item(item: &Node, parameters: u64) -> Related {
    if let Node::Text(id) = item {
        return from_id(id, parameters);
    }
    let value = |key: &'static str| match item.get(key)? {
        Node::Text(text) => Some((key, text.clone())),
        _ => None,
    };
    RELATED.into_iter().filter_map(value).collect()
}

/// From an address, or `organization/name` of Hugging Face.
fn from_id(id: &str, parameters: u64) -> Related {
    let address = ["http://", "https://", "ssh://"].iter().any(|scheme| id.starts_with(scheme));
    let hosted = ["https://huggingface.co/", "http://huggingface.co/"]
        .iter()
        .find_map(|host| id.strip_prefix(host))
        .filter(|rest| {
            rest.split_once('/').is_some_and(|(organization, name)| {
                !organization.is_empty() && !name.is_empty() && !name.contains('/')
            })
        });
    let known = if address { hosted } else { Some(id) };
    let parsed = known.map(|id| ModelId::parse(id, parameters));
    let repository = match &parsed {
        _ if address => Some(id.to_owned()),
        Some(ModelId { organization: Some(organization), full_name, .. }) => {
            Some(format!("https://huggingface.co/{organization}/{full_name}"))
        }
        _ => None,
    };
    let parts = parsed.map(|id| {
        let name = Some(("name", title(&id.full_name)));
        let version = id.version.map(|version| ("version", version));
        let organization = id.organization.map(|o| ("organization", title(&o)));
        [name, version, organization]
    });
    let parts = parts.into_iter().flatten().flatten();
    parts.chain(repository.map(|url| ("repo_url", url))).collect()
}
