//! Values of metadata.
//!
//! Text that is no UTF-8 and truth values that are neither 0 nor 1 stand in files, and other readers take
//! them: llama-quantize itself cuts a path inside a character. They have variants of their own, so that
//! text is text everywhere else and the same bytes are written back.

use std::fmt;

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// A truth value that is stored as another byte than 0 or 1; it is taken as true.
    RawBool(u8),
    String(String),
    /// Text that is no UTF-8.
    RawString(Vec<u8>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of one element type; nested arrays are refused by the reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    /// Truth values of which at least one is stored as another byte than 0 or 1.
    RawBool(Vec<u8>),
    String(Vec<String>),
    /// Texts of which at least one is no UTF-8.
    RawString(Vec<Vec<u8>>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Value {
    /// The type as messages name it: `u32`, `string`, `array of 4 u32`.
    pub fn type_name(&self) -> String {
        let name = match self {
            Value::U8(_) => "u8",
            Value::I8(_) => "i8",
            Value::U16(_) => "u16",
            Value::I16(_) => "i16",
            Value::U32(_) => "u32",
            Value::I32(_) => "i32",
            Value::F32(_) => "f32",
            Value::Bool(_) | Value::RawBool(_) => "bool",
            Value::String(_) | Value::RawString(_) => "string",
            Value::Array(array) => {
                return format!("array of {} {}", array.len(), array.element_name());
            }
            Value::U64(_) => "u64",
            Value::I64(_) => "i64",
            Value::F64(_) => "f64",
        };
        name.to_owned()
    }
}

macro_rules! array_methods {
    ($($variant:ident $name:literal,)*) => {
        impl Array {
            /// Elements.
            pub fn len(&self) -> usize {
                match self { $(Array::$variant(v) => v.len(),)* }
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The name of the elements' type, as messages name it.
            pub fn element_name(&self) -> &'static str {
                match self { $(Array::$variant(_) => $name,)* }
            }
        }
    };
}

array_methods! {
    U8 "u8", I8 "i8", U16 "u16", I16 "i16", U32 "u32", I32 "i32", F32 "f32", Bool "bool", RawBool "bool",
    String "string", RawString "string", U64 "u64", I64 "i64", F64 "f64",
}

/// In an error: what it is and of which type, a long one in short.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Characters of a text that are shown.
        const LONGEST: usize = 64;
        let text = |f: &mut fmt::Formatter<'_>, text: &str| {
            let start: String = text.chars().take(LONGEST).collect();
            let dots = if start.len() < text.len() { "..." } else { "" };
            write!(f, "the string {start:?}{dots}")
        };
        match self {
            Value::U8(v) => write!(f, "{v} (u8)"),
            Value::I8(v) => write!(f, "{v} (i8)"),
            Value::U16(v) => write!(f, "{v} (u16)"),
            Value::I16(v) => write!(f, "{v} (i16)"),
            Value::U32(v) => write!(f, "{v} (u32)"),
            Value::I32(v) => write!(f, "{v} (i32)"),
            Value::F32(v) => write!(f, "{v} (f32)"),
            Value::Bool(v) => write!(f, "{v} (bool)"),
            Value::RawBool(v) => write!(f, "true (bool, stored as {v})"),
            Value::String(v) => text(f, v),
            Value::RawString(v) => text(f, &String::from_utf8_lossy(v)),
            Value::Array(_) => write!(f, "an {}", self.type_name()),
            Value::U64(v) => write!(f, "{v} (u64)"),
            Value::I64(v) => write!(f, "{v} (i64)"),
            Value::F64(v) => write!(f, "{v} (f64)"),
        }
    }
}
