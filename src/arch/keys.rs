//! A hyperparameter as a row of an architecture's table: where each kind of file has it, and what it
//! may be. Reading and writing go by these rows alone.

use super::{Hyper, RopeScaling};

/// One key of a GGUF file, and what of `config.json` it is made of.
pub struct Key {
    /// Its name after the architecture's and a dot.
    pub gguf: &'static str,
    /// An older name, which counts where the other is not there.
    pub older: Option<&'static str>,
    pub slot: Slot,
    /// Whether a file may have an array with a number for each layer.
    pub by_layer: bool,
    pub reading: Reading,
    /// Whether a converted file has it.
    pub written: bool,
    /// Where a GGUF file does not have it.
    pub missing: Missing,
    /// What llama.cpp computes with whatever the file says.
    pub in_llama_cpp: Option<f32>,
    /// For each layout of a checkpoint where its `config.json` has it. Empty if none has: it is then
    /// what it is in a GGUF file without it.
    pub json: &'static [Named],
}

/// Where a value is kept, and what it may be.
#[derive(Clone, Copy)]
pub enum Slot {
    /// From 1 to `most`.
    Count {
        at: fn(&mut Hyper) -> &mut usize,
        most: usize,
    },
    /// A positive number; zero is 1 where `zero_is_one`.
    Real {
        at: fn(&mut Hyper) -> &mut f32,
        zero_is_one: bool,
    },
    Scaling(fn(&mut Hyper) -> &mut RopeScaling),
    /// Which layers slide: an array, or the `n` of all but every `n`-th; `usual` where nothing is said.
    Sliding {
        at: fn(&mut Hyper) -> &mut Vec<bool>,
        usual: usize,
    },
    /// Nowhere: `general.file_type`, which stands among the hyperparameters.
    FileType,
}

/// What a GGUF file's key is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It fills its slot.
    Fills,
    /// If it is there it has to be what the slot holds, for this reason.
    Repeats(&'static str),
    /// Only its type matters, since llama.cpp refuses another.
    Typed,
    /// Not at all: the vocabulary says how many tokens there are.
    Counted,
}

/// What a value is where a file does not say it.
#[derive(Clone, Copy)]
pub enum Missing {
    Refuse,
    Take(fn(&Hyper) -> f64),
}

/// Where a layout's `config.json` has a value: the first of these names that is there, dotted where
/// it stands in an object of its own.
pub struct Named {
    pub names: &'static [&'static str],
    pub missing: Missing,
}

/// What a file may say and only one answer is computed with.
pub struct Fixed {
    pub name: &'static str,
    pub is: Is,
    /// How the sentence goes on that says what was expected; often nothing.
    pub why: &'static str,
}

/// What is expected of a [`Fixed`] key that is there.
#[derive(Clone, Copy)]
pub enum Is {
    Flag(bool),
    Word(&'static str),
    Number(f32),
    /// A count of this at most.
    AtMost(u32),
    /// Not there at all.
    Absent,
    /// Anything of this type in a GGUF file.
    Any(&'static str),
    Anything,
}

impl Key {
    /// A key that is written, and has to be there.
    pub const fn new(gguf: &'static str, slot: Slot) -> Self {
        Self {
            gguf,
            older: None,
            slot,
            by_layer: false,
            reading: Reading::Fills,
            written: true,
            missing: Missing::Refuse,
            in_llama_cpp: None,
            json: &[],
        }
    }

    /// A count of at most `most`.
    pub const fn count(gguf: &'static str, most: usize, at: fn(&mut Hyper) -> &mut usize) -> Self {
        Self::new(gguf, Slot::Count { at, most })
    }

    /// A positive number.
    pub const fn real(gguf: &'static str, at: fn(&mut Hyper) -> &mut f32) -> Self {
        Self::new(gguf, Slot::Real { at, zero_is_one: false })
    }

    pub const fn json(mut self, json: &'static [Named]) -> Self {
        self.json = json;
        self
    }

    pub const fn older(mut self, name: &'static str) -> Self {
        self.older = Some(name);
        self
    }

    pub const fn by_layer(mut self) -> Self {
        self.by_layer = true;
        self
    }

    /// What it is in a GGUF file without it.
    pub const fn or(mut self, value: fn(&Hyper) -> f64) -> Self {
        self.missing = Missing::Take(value);
        self
    }

    pub const fn unwritten(mut self) -> Self {
        self.written = false;
        self
    }

    pub const fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }

    pub const fn in_llama_cpp(mut self, value: f32) -> Self {
        self.in_llama_cpp = Some(value);
        self
    }
}

/// A value in a file, whichever kind of file it is.
pub(super) enum Found<'a> {
    Flag(bool),
    Count(u64),
    Number(f64),
    Word(&'a str),
    Other,
}

impl Is {
    /// Whether a value is what is expected; [`None`] if it is not even of its type.
    pub(super) fn fits(self, found: &Found<'_>) -> Option<bool> {
        match (self, found) {
            (Self::Flag(expected), Found::Flag(found)) => Some(*found == expected),
            (Self::Word(expected), Found::Word(found)) => Some(*found == expected),
            (Self::AtMost(most), Found::Count(found)) => Some(*found <= most.into()),
            (Self::Number(expected), Found::Number(found)) => {
                Some((found - f64::from(expected)).abs() <= 1e-4)
            }
            (Self::Any("bool"), Found::Flag(_))
            | (Self::Any("u32"), Found::Count(_))
            | (Self::Any("f32"), Found::Number(_))
            | (Self::Anything, _) => Some(true),
            (Self::Absent, _) => Some(false),
            _ => None,
        }
    }

    /// What is expected, in words.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Flag(expected) => expected.to_string(),
            Self::Word(expected) => expected.to_owned(),
            Self::Number(expected) => expected.to_string(),
            Self::AtMost(most) => most.to_string(),
            Self::Absent => "none".to_owned(),
            Self::Any(_) | Self::Anything => self.type_name().to_owned(),
        }
    }

    /// The type in a GGUF file.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Any(name) => name,
            Self::Flag(_) => "bool",
            Self::AtMost(_) => "u32",
            Self::Number(_) => "f32",
            Self::Word(_) => "string",
            Self::Absent | Self::Anything => "anything",
        }
    }
}

impl Fixed {
    pub const fn new(name: &'static str, is: Is, why: &'static str) -> Self {
        Self { name, is, why }
    }
}

impl Named {
    pub const fn required(names: &'static [&'static str]) -> Self {
        Self { names, missing: Missing::Refuse }
    }

    pub const fn or(names: &'static [&'static str], value: fn(&Hyper) -> f64) -> Self {
        Self { names, missing: Missing::Take(value) }
    }
}

impl Slot {
    /// Puts a number where it belongs, if it may be that; otherwise says what was expected, and found.
    pub(super) fn put(self, value: f64, hyper: &mut Hyper) -> Result<(), (String, String)> {
        match self {
            Slot::Count { most, .. } if !(1.0..=most as f64).contains(&value) => {
                Err((format!("1 to {most}"), value.to_string()))
            }
            Slot::Count { at, .. } => {
                *at(hyper) = value as usize;
                Ok(())
            }
            Slot::Real { at, zero_is_one } => {
                let value = if zero_is_one && value == 0.0 { 1.0 } else { value as f32 };
                if !value.is_finite() || value <= 0.0 {
                    return Err(("a positive number".to_owned(), value.to_string()));
                }
                *at(hyper) = value;
                Ok(())
            }
            Slot::Scaling(_) | Slot::Sliding { .. } | Slot::FileType => {
                unreachable!("the table gives numbers to numbers only")
            }
        }
    }
}

/// What is impossible together: the GGUF name of the key, what it had to be, and what it is.
pub(super) fn impossible(hyper: &Hyper) -> Option<(&'static str, String, usize)> {
    let Hyper { heads, kv_heads, head_dim, experts, experts_used, .. } = *hyper;
    if !heads.is_multiple_of(kv_heads) {
        let expected = format!("a multiple of the {kv_heads} key/value heads");
        return Some(("attention.head_count", expected, heads));
    }
    if !head_dim.is_multiple_of(2) {
        return Some(("attention.key_length", "an even number".to_owned(), head_dim));
    }
    if experts_used > experts {
        let expected = format!("at most the {experts} experts there are");
        return Some(("expert_used_count", expected, experts_used));
    }
    None
}
