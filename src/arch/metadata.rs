//! Hyperparameters out of a GGUF file's metadata and into it, row by row of the architecture's table:
//! as strictly as llama.cpp's loader (`src/llama-model-loader.cpp`: `get_key`, `get_key_or_arr`), to
//! which a count is a `u32` and a number an `f32`.
//!
//! What llama.cpp obeys is obeyed, or refused by its key's name. What it does not read is told
//! ([`Architecture::warnings`]), for it has no effect here either.

use crate::gguf::{Array, Metadata, Value};

use super::hyper::all_but_every;
use super::keys::{Fixed, Found, Key, Missing, Reading, Slot, impossible};
use super::{ArchError, Architecture, Hyper, RopeScaling};

impl Architecture {
    /// Reads and checks the hyperparameters that a GGUF file carries.
    ///
    /// # Errors
    /// If one is missing, of another type, impossible, or one that llama.cpp obeys and that is not
    /// computed with here.
    pub fn from_metadata(&self, metadata: &Metadata) -> Result<Hyper, ArchError> {
        let keys = Keys { metadata, architecture: self.name };
        let tokens = "tokenizer.ggml.tokens";
        let there = match metadata.get(tokens) {
            Some(Value::Array(Array::String(tokens))) => Some(tokens.len()),
            _ => metadata.left_out_len(tokens),
        };
        let Some(vocab) = there.filter(|&len| len > 0) else {
            let key = tokens.to_owned();
            return Err(ArchError::MissingKey { key, expected: "an array of tokens" });
        };
        let mut hyper = Hyper::new(vocab);
        let mut taken = Vec::new();
        for key in self.keys.iter().filter(|key| key.reading == Reading::Fills) {
            match key.missing {
                _ if keys.fill(key, &mut hyper)? => {}
                Missing::Take(value) => taken.push((key, value)),
                Missing::Refuse => {
                    let expected = match key.slot {
                        Slot::Real { .. } => "an f32",
                        _ => "a u32",
                    };
                    return Err(ArchError::MissingKey { key: keys.full(key.gguf), expected });
                }
            }
        }
        // After all that is there, of which they may be made.
        for (key, value) in taken {
            let value = value(&hyper);
            let wrong = |(expected, found): (String, String)| keys.bad(key.gguf, found, expected);
            key.slot.put(value, &mut hyper).map_err(wrong)?;
        }
        if let Some((name, expected, found)) = impossible(&hyper) {
            return Err(keys.bad(name, found, expected));
        }
        if hyper.rope_scaling == RopeScaling::None && hyper.rope_factor != 1.0 {
            // llama.cpp goes on to divide the positions of sliding layers.
            let expected = "none without one, yarn or linear";
            return Err(keys.bad("rope.scaling.type", "none with a factor", expected));
        }
        for key in self.keys {
            keys.repeats(key, &mut hyper)?;
        }
        self.fixed.iter().try_for_each(|fixed| keys.fixed(fixed))?;
        Ok(hyper)
    }

    /// Appends the keys of the table in its order, which is that of llama.cpp's converter.
    pub fn write_to(&self, hyper: &Hyper, file_type: u32, metadata: &mut Metadata) {
        // The slots are there to be written to as well.
        let mut hyper = hyper.clone();
        for key in self.keys.iter().filter(|key| key.written) {
            let value = match key.slot {
                Slot::Count { at, .. } => Value::U32(*at(&mut hyper) as u32),
                Slot::Real { at, .. } => Value::F32(*at(&mut hyper)),
                Slot::Scaling(at) => Value::String(at(&mut hyper).name().to_owned()),
                Slot::Sliding { at, .. } => Value::Array(Array::Bool(at(&mut hyper).clone())),
                Slot::FileType => {
                    metadata.set("general.file_type", Value::U32(file_type));
                    continue;
                }
            };
            metadata.set(format!("{}.{}", self.name, key.gguf), value);
        }
    }

    /// What a file says under the architecture's name and the program does not compute with, or
    /// llama.cpp not.
    pub fn warnings(&self, metadata: &Metadata) -> Vec<String> {
        let keys = Keys { metadata, architecture: self.name };
        let known = |name: &str| {
            self.keys.iter().any(|key| key.gguf == name || key.older == Some(name))
                || self.fixed.iter().any(|fixed| fixed.name == name)
        };
        let is_unknown = |key: &&str| {
            let own = key.strip_prefix(self.name).and_then(|key| key.strip_prefix('.'));
            own.is_some_and(|name| !known(name))
        };
        let unknown: Vec<&str> = metadata.iter().map(|(key, _)| key).filter(is_unknown).collect();
        let mut warnings = Vec::new();
        if !unknown.is_empty() {
            let count = unknown.len();
            warnings.push(format!(
                "metadata: {} of no effect, neither here nor in llama.cpp's {}: {}",
                if count == 1 { "a key".to_owned() } else { format!("{count} keys") },
                self.name,
                unknown.join(", ")
            ));
        }
        for key in self.keys {
            if let Some(taken) = key.in_llama_cpp
                && let Ok(Some(found)) = keys.number(key.gguf)
                && found != taken
            {
                warnings.push(format!(
                    "metadata: {} is {found}; it is obeyed here, but llama.cpp does not read it \
                     for {} and computes with {taken}",
                    keys.full(key.gguf),
                    self.name
                ));
            }
        }
        warnings
    }
}

/// The keys of a file that begin with its architecture's name and a dot.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'static str,
}

impl<'a> Keys<'a> {
    /// Reads a key into its slot, if the file has it under one of its names.
    fn fill(&self, key: &Key, hyper: &mut Hyper) -> Result<bool, ArchError> {
        let name = match key.older {
            Some(older) if self.get(key.gguf).is_none() => older,
            _ => key.gguf,
        };
        let value = match key.slot {
            Slot::FileType => return Ok(true),
            Slot::Scaling(at) => {
                let found = self.text(name)?.unwrap_or(RopeScaling::Linear.name());
                let scaling = RopeScaling::ALL.into_iter().find(|s| s.name() == found);
                let wrong = || self.bad(name, found, "yarn, linear or none");
                *at(hyper) = scaling.ok_or_else(wrong)?;
                return Ok(true);
            }
            Slot::Sliding { at, usual } => {
                *at(hyper) = self.sliding(key.gguf, usual, hyper.layers)?;
                return Ok(true);
            }
            Slot::Real { .. } => self.number(name)?.map(f64::from),
            Slot::Count { .. } if key.by_layer => self.by_layer(name, hyper.layers)?,
            Slot::Count { .. } => self.unsigned(name)?.map(f64::from),
        };
        let Some(value) = value else { return Ok(false) };
        let wrong = |(expected, found): (String, String)| self.bad(name, found, expected);
        key.slot.put(value, hyper).map_err(wrong).map(|()| true)
    }

    /// Checks a key that repeats what another says, or has no effect.
    fn repeats(&self, key: &Key, hyper: &mut Hyper) -> Result<(), ArchError> {
        let (Slot::Count { at, .. }, name) = (key.slot, key.gguf) else { return Ok(()) };
        match key.reading {
            Reading::Fills | Reading::Counted => {}
            Reading::Typed => {
                if let Some(Value::Array(array)) = self.get(name) {
                    self.numbers(name, array, hyper.layers)?;
                } else {
                    self.unsigned(name)?;
                }
            }
            Reading::Repeats(why) => {
                let expected = *at(hyper);
                if let Some(found) = self.unsigned(name)?.filter(|n| *n as usize != expected) {
                    return Err(self.bad(name, found, format!("{expected}, {why}")));
                }
            }
        }
        Ok(())
    }

    /// Checks what only one answer is computed with.
    fn fixed(&self, Fixed { name, is, why }: &Fixed) -> Result<(), ArchError> {
        let Some(value) = self.get(name) else { return Ok(()) };
        let (found, shown) = match value {
            Value::Bool(flag) => (Found::Flag(*flag), flag.to_string()),
            Value::U32(count) => (Found::Count((*count).into()), count.to_string()),
            Value::F32(number) => (Found::Number((*number).into()), number.to_string()),
            Value::String(word) => (Found::Word(word), word.clone()),
            other => (Found::Other, other.type_name()),
        };
        match is.fits(&found) {
            Some(true) => Ok(()),
            Some(false) => Err(self.bad(name, shown, is.expected() + why)),
            None => Err(self.wrong_type(name, value, is.type_name())),
        }
    }

    /// Which layers slide: those that an array marks; without one all but every `n`-th, of which the
    /// key without an array is `n`.
    fn sliding(&self, name: &str, usual: usize, layers: usize) -> Result<Vec<bool>, ArchError> {
        let sliding: Vec<bool> = match self.get(name) {
            Some(Value::Array(array)) => {
                self.numbers(name, array, layers)?.into_iter().map(|n| n != 0).collect()
            }
            _ => all_but_every(self.unsigned(name)?.map_or(usual, |n| n as usize), layers),
        };
        if self.get(name).is_some() && !sliding.contains(&true) {
            let expected = "one by which a layer slides; llama.cpp stops where none does";
            return Err(self.bad(name, "one by which none slides", expected));
        }
        Ok(sliding)
    }

    /// A count that is one number, or an array of one for each of `layers` layers, where it is
    /// there. Layers that differ are not computed with.
    fn by_layer(&self, name: &str, layers: usize) -> Result<Option<f64>, ArchError> {
        let Some(Value::Array(array)) = self.get(name) else {
            return Ok(self.unsigned(name)?.map(f64::from));
        };
        let numbers = self.numbers(name, array, layers)?;
        let Some((&first, rest)) = numbers.split_first() else { return Ok(None) };
        if let Some(at) = rest.iter().position(|n| *n != first) {
            let found = format!("{} in layer {} and {first} in layer 0", rest[at], at + 1);
            return Err(self.bad(name, found, "the same in all layers; others are not computed"));
        }
        Ok(Some(first.into()))
    }

    /// An array's elements, one for each of `layers` layers. llama.cpp takes `i32` for `u32` here,
    /// by its bits, and truth values.
    fn numbers(&self, name: &str, array: &Array, layers: usize) -> Result<Vec<u32>, ArchError> {
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

    fn unsigned(&self, name: &str) -> Result<Option<u32>, ArchError> {
        self.typed(name, "u32", |value| match value {
            &Value::U32(n) => Some(n),
            _ => None,
        })
    }

    fn number(&self, name: &str) -> Result<Option<f32>, ArchError> {
        self.typed(name, "f32", |value| match value {
            &Value::F32(v) => Some(v),
            _ => None,
        })
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, ArchError> {
        self.typed(name, "string", |value| match value {
            Value::String(v) => Some(v.as_str()),
            _ => None,
        })
    }

    /// A value of one type, where it is there.
    fn typed<T>(
        &self,
        name: &str,
        expected: &str,
        value: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ArchError> {
        let Some(found) = self.get(name) else { return Ok(None) };
        value(found).map(Some).ok_or_else(|| self.wrong_type(name, found, expected))
    }

    /// The whole key.
    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.metadata.get(&self.full(name))
    }

    fn bad(&self, name: &str, found: impl ToString, expected: impl Into<String>) -> ArchError {
        let (key, found) = (self.full(name), found.to_string());
        ArchError::BadValue { key, found, expected: expected.into() }
    }

    fn wrong_type(&self, name: &str, found: &Value, expected: &str) -> ArchError {
        let (key, found) = (self.full(name), found.type_name());
        ArchError::KeyType { key, found, expected: expected.to_owned() }
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
