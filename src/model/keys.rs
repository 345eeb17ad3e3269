//! Reads an architecture's metadata keys, as strictly as llama.cpp's loader does
//! (`src/llama-model-loader.cpp`: `get_key`, `get_key_or_arr`): a count is a `u32`, a number an
//! `f32`. Knows no architecture's keys.

use crate::gguf::{Array, Metadata, Value};

use super::ModelError;

/// Largest count, so that a product of two of them cannot overflow.
const MAX_COUNT: u32 = 0x7fff_ffff;

/// The keys of a file that begin with its architecture's name and a dot.
pub struct Keys<'a> {
    pub metadata: &'a Metadata,
    pub architecture: &'static str,
}

impl<'a> Keys<'a> {
    /// The whole key.
    pub fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// The value under the key, of whatever type.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.metadata.get(&self.full(name))
    }

    /// A count of 1 or more.
    pub fn count(&self, name: &str) -> Result<usize, ModelError> {
        self.count_if(name)?.ok_or_else(|| self.missing(name, "a u32"))
    }

    /// A count of 1 or more, where it is there.
    pub fn count_if(&self, name: &str) -> Result<Option<usize>, ModelError> {
        self.unsigned(name)?.map(|n| self.in_range(name, n)).transpose()
    }

    /// Any `u32`, where it is there.
    pub fn unsigned(&self, name: &str) -> Result<Option<u32>, ModelError> {
        match self.get(name) {
            None => Ok(None),
            Some(&Value::U32(n)) => Ok(Some(n)),
            Some(other) => Err(self.wrong_type(name, other, "u32")),
        }
    }

    /// A count that is one number, or an array of one for each of `layers` layers, where it is
    /// there. Layers that differ are not computed with.
    pub fn count_by_layer(&self, name: &str, layers: usize) -> Result<Option<usize>, ModelError> {
        let Some(Value::Array(array)) = self.get(name) else { return self.count_if(name) };
        let numbers = self.numbers(name, array, layers)?;
        let Some((&first, rest)) = numbers.split_first() else { return Ok(None) };
        if let Some(at) = rest.iter().position(|n| *n != first) {
            let found = format!("{} in layer {} and {first} in layer 0", rest[at], at + 1);
            return Err(self.bad(name, found, "the same in all layers; others are not computed"));
        }
        self.in_range(name, first).map(Some)
    }

    /// An array's elements, one for each of `layers` layers. llama.cpp takes `i32` for `u32` here,
    /// by its bits, and truth values.
    pub fn numbers(
        &self,
        name: &str,
        array: &Array,
        layers: usize,
    ) -> Result<Vec<u32>, ModelError> {
        let numbers: Vec<u32> = match array {
            Array::U32(v) => v.clone(),
            Array::I32(v) => v.iter().map(|&n| n as u32).collect(),
            Array::Bool(v) => v.iter().map(|&b| u32::from(b)).collect(),
            other => {
                let found = Value::Array(other.clone());
                return Err(self.wrong_type(name, &found, "u32, or an array of u32 or i32"));
            }
        };
        if numbers.len() != layers {
            let expected = format!("one element for each of the {layers} layers");
            return Err(self.bad(name, format!("an array of {}", numbers.len()), expected));
        }
        Ok(numbers)
    }

    /// A number, where it is there.
    pub fn number(&self, name: &str) -> Result<Option<f32>, ModelError> {
        match self.get(name) {
            None => Ok(None),
            Some(&Value::F32(v)) => Ok(Some(v)),
            Some(other) => Err(self.wrong_type(name, other, "f32")),
        }
    }

    /// A positive number, where it is there.
    pub fn positive(&self, name: &str) -> Result<Option<f32>, ModelError> {
        match self.number(name)? {
            Some(v) if !(v.is_finite() && v > 0.0) => Err(self.bad(name, v, "a positive number")),
            number => Ok(number),
        }
    }

    /// A truth value, where it is there.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ModelError> {
        match self.get(name) {
            None => Ok(None),
            Some(&Value::Bool(v)) => Ok(Some(v)),
            Some(other) => Err(self.wrong_type(name, other, "bool")),
        }
    }

    /// A text, where it is there.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, ModelError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(v)) => Ok(Some(v)),
            Some(other) => Err(self.wrong_type(name, other, "string")),
        }
    }

    /// The count, if it is there, has to be this one: no other is computed with.
    pub fn equals(&self, name: &str, expected: usize, reason: &str) -> Result<(), ModelError> {
        match self.unsigned(name)? {
            Some(found) if found as usize != expected => {
                Err(self.bad(name, found, format!("{expected}, {reason}")))
            }
            _ => Ok(()),
        }
    }

    /// The names, without the architecture's, of all keys that it has in the file.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        let architecture = self.architecture;
        self.metadata
            .iter()
            .filter_map(move |(key, _)| key.strip_prefix(architecture)?.strip_prefix('.'))
    }

    pub fn missing(&self, name: &str, expected: &'static str) -> ModelError {
        ModelError::MissingKey { key: self.full(name), expected }
    }

    pub fn bad(&self, name: &str, found: impl ToString, expected: impl Into<String>) -> ModelError {
        let (key, found) = (self.full(name), found.to_string());
        ModelError::BadValue { key, found, expected: expected.into() }
    }

    fn wrong_type(&self, name: &str, found: &Value, expected: &str) -> ModelError {
        let (key, found) = (self.full(name), found.type_name());
        ModelError::KeyType { key, found, expected: expected.to_owned() }
    }

    fn in_range(&self, name: &str, n: u32) -> Result<usize, ModelError> {
        match n {
            1..=MAX_COUNT => Ok(n as usize),
            _ => Err(self.bad(name, n, format!("1 to {MAX_COUNT}"))),
        }
    }
}
