//! Where the files stand that the records name. What is in the workspace is kept relative to it, so
//! that records hold wherever the workspace is moved or copied to. Digests are not kept so: where a
//! file is belongs to what is known of it, and a file that was moved is hashed again.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::Transaction;
use serde_json::{Value, json};

use super::State;
/// The one key of the object that stands in a kept result for a path in the workspace.
const INSIDE: &str = "$workspace";

impl State {
    /// `path` as it is kept.
    pub(super) fn kept<'p>(&self, path: &'p Utf8Path) -> &'p str {
        inside(path.as_str(), self.workspace()).unwrap_or(path.as_str())
    }

    /// The path that is kept as `text`.
    pub(super) fn found(&self, text: impl AsRef<str>) -> Utf8PathBuf {
        self.workspace().join(text.as_ref())
    }

    /// A step's result as it is kept.
    pub(super) fn kept_result(&self, result: &Value) -> Value {
        let workspace = self.workspace();
        with_texts(result, &|text| inside(text, workspace).map(|path| json!({ INSIDE: path })))
    }

    /// The result that is kept as `kept`.
    pub(super) fn found_result(&self, kept: Value) -> Value {
        match kept {
            Value::Object(object) => match (object.len(), object.get(INSIDE)) {
                (1, Some(Value::String(path))) => self.found(path).into_string().into(),
                _ => object.into_iter().map(|(key, v)| (key, self.found_result(v))).collect(),
            },
            Value::Array(items) => items.into_iter().map(|v| self.found_result(v)).collect(),
            other => other,
        }
    }
}

/// What follows `workspace` in `path`, if it lies inside.
fn inside<'p>(path: &'p str, workspace: &Utf8Path) -> Option<&'p str> {
    let rest = path.strip_prefix(workspace.as_str().trim_end_matches('/'))?.strip_prefix('/')?;
    (!rest.is_empty()).then_some(rest)
}

/// `value` with each text for which there is a `new` value replaced by that.
fn with_texts(value: &Value, new: &dyn Fn(&str) -> Option<Value>) -> Value {
    match value {
        Value::String(text) => new(text).unwrap_or_else(|| value.clone()),
        Value::Array(items) => items.iter().map(|v| with_texts(v, new)).collect(),
        Value::Object(object) => {
            object.iter().map(|(key, v)| (key.clone(), with_texts(v, new))).collect()
        }
        other => other.clone(),
    }
}

/// Rewrites the absolute paths of a state that is in `workspace` now, for layouts that kept them.
///
/// It may have been moved since they were written: where it was then is told by the logs of its
/// runs, which are always in `.qrun/logs`.
pub(super) fn make_relative(db: &Transaction<'_>, workspace: &Utf8Path) -> rusqlite::Result<()> {
    let mut homes = BTreeSet::from([workspace.to_owned()]);
    for log in texts(db, "outcomes", "log")? {
        homes.extend(log.rsplit_once("/.qrun/logs/").map(|(home, _)| Utf8PathBuf::from(home)));
    }
    // One that stood in another comes before it.
    let path = |text: &str| {
        let path = homes.iter().rev().find_map(|home| inside(text, home));
        path.map(str::to_owned)
    };
    let json = |text: &str, new: &dyn Fn(&str) -> Option<Value>| {
        // What is no JSON is found out by whoever reads it.
        serde_json::from_str(text).ok().map(|value| with_texts(&value, new).to_string())
    };
    let list = |text: &str| json(text, &|text| path(text).map(Value::from));
    let result = |text: &str| json(text, &|text| path(text).map(|path| json!({ INSIDE: path })));
    rewrite(db, "outcomes", "log", path)?;
    rewrite(db, "actions", "outputs", list)?;
    rewrite(db, "pending", "outputs", list)?;
    rewrite(db, "actions", "result", result)
}

fn texts(db: &Transaction<'_>, table: &str, column: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare(&format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"))?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn rewrite(
    db: &Transaction<'_>,
    table: &str,
    column: &str,
    new: impl Fn(&str) -> Option<String>,
) -> rusqlite::Result<()> {
    let mut update =
        db.prepare(&format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1"))?;
    for text in texts(db, table, column)? {
        if let Some(new) = new(&text) {
            update.execute([text, new])?;
        }
    }
    Ok(())
}
