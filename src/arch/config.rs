//! Hyperparameters from the text of a `config.json`, row by row of an architecture's table. Knows no
//! files.

use serde_json::{Map, Value};

use super::hyper::all_but_every;
use super::keys::{Fixed, Found, Is, Key, Missing, Reading, Slot, impossible};
use super::{ALL, Architecture, ConfigError, Hyper, Layout};

/// What a `config.json` says of a model.
#[derive(Clone, Debug)]
pub struct Config {
    pub architecture: &'static Architecture,
    /// Number of its layout among the architecture's.
    pub layout: usize,
    pub hyper: Hyper,
}

/// A `config.json`.
pub(super) type Json = Map<String, Value>;

impl Config {
    /// Reads the text by the table of the architecture and the layout that it is of; its `model_type`
    /// tells.
    ///
    /// # Errors
    /// If the text is not JSON, describes a model that is not known, or one that cannot be.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        if !text.trim_start().starts_with('{') {
            let found = if text.trim().is_empty() { "nothing" } else { "something else" };
            let expected = "a JSON object; download it again";
            return Err(ConfigError::value("the whole file", expected, found));
        }
        let mut json: Json = serde_json::from_str(text)?;
        let (architecture, layout) = of_model_type(get(&json, "model_type"))?;
        let rules = &architecture.layouts[layout];
        (rules.prepare)(&mut json)?;
        let file = File { text, json: &json };
        rules.fixed.iter().try_for_each(|fixed| file.fixed(fixed))?;
        let mut hyper = file.hyper(architecture, layout)?;
        (rules.finish)(&json, &mut hyper)?;
        Ok(Self { architecture, layout, hyper })
    }

    /// The layout.
    pub fn layout(&self) -> &'static Layout {
        &self.architecture.layouts[self.layout]
    }
}

/// The architecture and the number of its layout; a layout may be known by having no type.
fn of_model_type(found: Option<&Value>) -> Result<(&'static Architecture, usize), ConfigError> {
    // What is no text is no name that is known.
    let found = found.map(|found| found.as_str().unwrap_or("no text"));
    let fits = |layout: &Layout| layout.model_type == found;
    let layout = |a: &&'static Architecture| Some((*a, a.layouts.iter().position(fits)?));
    ALL.iter().find_map(layout).ok_or_else(|| {
        let layouts = ALL.iter().flat_map(|architecture| architecture.layouts);
        let known: Vec<&str> = layouts.filter_map(|layout| layout.model_type).collect();
        let expected = format!("{}, since no other is supported", known.join(" or "));
        ConfigError::value("model_type", expected, found.unwrap_or("none"))
    })
}

/// The value under a name that is dotted where it stands in an object of its own; `null` is nothing.
pub(super) fn get<'a>(json: &'a Json, name: &str) -> Option<&'a Value> {
    let mut names = name.split('.');
    let first = json.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name)).filter(|value| !value.is_null())
}

struct File<'a> {
    text: &'a str,
    json: &'a Json,
}

impl File<'_> {
    /// Fills the slots of the table's keys from their columns for the layout.
    fn hyper(&self, architecture: &Architecture, layout: usize) -> Result<Hyper, ConfigError> {
        let mut hyper = Hyper::new(0);
        let filled = [Reading::Fills, Reading::Counted];
        let rows = || architecture.keys.iter().filter(|key| filled.contains(&key.reading));
        let mut taken = Vec::new();
        for key in rows() {
            let named = key.json.get(layout);
            let names = named.map_or(&[][..], |named| named.names).iter();
            let found = names.copied().find_map(|name| Some((name, get(self.json, name)?)));
            match (key.slot, found, named.map_or(key.missing, |named| named.missing)) {
                (slot, Some((name, value)), _) => self.put(slot, name, value, &mut hyper)?,
                (Slot::Sliding { at, usual }, ..) => {
                    *at(&mut hyper) = all_but_every(usual, hyper.layers);
                }
                (Slot::Scaling(_) | Slot::FileType, ..) => {}
                (.., Missing::Take(value)) => taken.push((key, value)),
                (.., Missing::Refuse) => {
                    return Err(ConfigError::value(name(key, layout), "a number", "none"));
                }
            }
        }
        // After all that is there, of which they may be made.
        for (key, value) in taken {
            let value = value(&hyper);
            key.slot.put(value, &mut hyper).map_err(|(expected, found)| {
                ConfigError::value(name(key, layout), expected, found)
            })?;
        }
        match impossible(&hyper) {
            None => Ok(hyper),
            Some((gguf, expected, found)) => {
                let key = rows().find(|key| key.gguf == gguf);
                let name = key.map_or(gguf, |key| name(key, layout));
                Err(ConfigError::value(name, expected, found))
            }
        }
    }

    fn put(
        &self,
        slot: Slot,
        name: &'static str,
        value: &Value,
        hyper: &mut Hyper,
    ) -> Result<(), ConfigError> {
        let number = match slot {
            Slot::Count { .. } => {
                value.as_u64().map(|n| n as f64).ok_or_else(|| "a whole number".to_owned())
            }
            _ => value.as_f64().ok_or_else(|| "a number".to_owned()),
        };
        let put = |number| slot.put(number, hyper).map_err(|(expected, _)| expected);
        number.and_then(put).map_err(|expected| {
            ConfigError::value(name, expected, format!("{value} at line {}", self.line(name)))
        })
    }

    /// Checks what only one answer is converted from.
    fn fixed(&self, Fixed { name, is, why }: &Fixed) -> Result<(), ConfigError> {
        let Some(value) = get(self.json, name) else { return Ok(()) };
        let found = match (value, is) {
            (Value::Bool(flag), _) => Found::Flag(*flag),
            (Value::String(word), _) => Found::Word(word),
            (Value::Number(number), Is::AtMost(_) | Is::Any("u32")) => {
                number.as_u64().map_or(Found::Other, Found::Count)
            }
            (Value::Number(number), _) => number.as_f64().map_or(Found::Other, Found::Number),
            _ => Found::Other,
        };
        if is.fits(&found) == Some(true) {
            return Ok(());
        }
        let found = format!("{value} at line {}", self.line(name));
        Err(ConfigError::value(name, is.expected() + why, found))
    }

    /// The line on which a name stands, as far as can be told from the text.
    fn line(&self, name: &str) -> usize {
        let at = name.split('.').fold(0, |at, name| {
            self.text[at..].find(&format!("\"{name}\"")).map_or(at, |found| at + found)
        });
        self.text[..at].matches('\n').count() + 1
    }
}

/// What a key is called in a layout's `config.json`, or else in a GGUF file.
fn name(key: &Key, layout: usize) -> &'static str {
    let names = key.json.get(layout).map_or(&[][..], |named| named.names);
    names.first().copied().unwrap_or(key.gguf)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
