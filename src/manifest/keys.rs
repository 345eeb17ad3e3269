//! Unknown keys: every key of a manifest held against the JSON schema, so that what is refused and
//! what the schema knows are the same.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Problems;
use crate::words::did_you_mean;

/// Adds a problem for each key of `table` that `schema` does not know.
pub fn check(table: &DeTable<'_>, schema: &Value, problems: &mut Problems) {
    let known = all_keys(schema);
    let checker = Checker { root: schema, known: &known };
    checker.table(table, schema, "", problems);
}

struct Checker<'s> {
    root: &'s Value,
    /// Each key with the section it belongs to.
    known: &'s [(String, String)],
}

impl Checker<'_> {
    fn table(&self, table: &DeTable<'_>, schema: &Value, section: &str, problems: &mut Problems) {
        let Some(properties) = properties(self.root, schema) else { return };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match properties.get(name) {
                Some(inner) => self.value(value, inner, name, problems),
                None => {
                    let place = match section {
                        "" => "at the top level".to_owned(),
                        section => format!("in `{section}`"),
                    };
                    problems.add(
                        key.span(),
                        format!("unknown key `{name}` {place}"),
                        "not known here",
                        Some(self.help(name, properties.keys().map(String::as_str))),
                    );
                }
            }
        }
    }

    fn value(
        &self,
        value: &Spanned<DeValue<'_>>,
        schema: &Value,
        section: &str,
        problems: &mut Problems,
    ) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, schema, section, problems),
            DeValue::Array(items) => {
                let schema = resolved(self.root, schema);
                if let Some(item) = schema.get("items") {
                    for value in items {
                        self.value(value, item, section, problems);
                    }
                }
            }
            _ => {}
        }
    }

    fn help<'k>(&self, name: &str, here: impl Iterator<Item = &'k str> + Clone) -> String {
        if let Some(help) = did_you_mean(name, here.clone()) {
            return help;
        }
        if let Some((_, section)) = self.known.iter().find(|(key, _)| key == name) {
            return format!("`{name}` belongs in `{section}`");
        }
        let keys: Vec<&str> = here.collect();
        format!("known keys here: {}", keys.join(", "))
    }
}

/// The properties of an object's schema.
fn properties<'s>(
    root: &'s Value,
    schema: &'s Value,
) -> Option<&'s serde_json::Map<String, Value>> {
    resolved(root, schema).get("properties")?.as_object()
}

/// The schema behind a reference, or behind `anyOf [it, null]`.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let behind = match schema.get("anyOf").and_then(Value::as_array) {
        Some(alternatives) => alternatives.iter().find(|a| a.get("$ref").is_some()),
        None => Some(schema),
    };
    behind
        .and_then(|s| s.get("$ref")?.as_str())
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?))
        .unwrap_or(schema)
}

/// Every key below the top level, with its section.
fn all_keys(root: &Value) -> Vec<(String, String)> {
    let sections = properties(root, root).into_iter().flatten();
    sections
        .flat_map(|(section, schema)| {
            let schema = resolved(root, schema);
            let inner = schema.get("items").unwrap_or(schema);
            let keys = properties(root, inner).into_iter().flatten();
            keys.map(|(key, _)| (key.clone(), section.clone()))
        })
        .collect()
}
