//! Metadata of a GGUF file: typed key-value pairs in file order.

use super::{Name, Value};

/// Bytes that tensor data is aligned to where `general.alignment` does not say otherwise.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// Key-value pairs in file order. In an outline, which serves to know what a file would be without
/// making it, the long lists of a vocabulary are left out and known by their length alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(Name, Value)>,
    /// Keys of the arrays left out, with how many elements they have.
    left_out: Vec<(Name, usize)>,
    /// Bytes of a file that these pairs take.
    left_out_bytes: u64,
}

impl Metadata {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(k, _)| *k == *key).map(|(_, v)| v)
    }

    /// The value under a key that need be no UTF-8.
    pub fn value(&self, key: &Name) -> Option<&Value> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Appends a pair whose key is known not to be there yet; constant time, for long headers.
    pub(super) fn push(&mut self, key: Name, value: Value) {
        self.entries.push((key, value));
    }

    /// Notes that there is an array of `len` elements under `key`, which is left out: its elements
    /// would take `element_bytes` of a file, strings with their lengths.
    pub fn leave_out_array(&mut self, key: Name, len: usize, element_bytes: u64) {
        // The key with its length, the type, the elements' type, their number.
        self.left_out_bytes += 8 + key.bytes().len() as u64 + 4 + 4 + 8 + element_bytes;
        self.left_out.push((key, len));
    }

    /// Elements of the array under `key`, where it is left out.
    pub fn left_out_len(&self, key: &str) -> Option<usize> {
        self.left_out.iter().find(|(k, _)| *k == *key).map(|&(_, len)| len)
    }

    /// Bytes of a file that what is left out takes: 0 but in an outline, which cannot be written.
    pub fn left_out_bytes(&self) -> u64 {
        self.left_out_bytes
    }

    /// Appends all of `other`, in its order.
    pub fn append(&mut self, other: Self) {
        for (key, value) in other.entries {
            self.set(key, value);
        }
        self.left_out.extend(other.left_out);
        self.left_out_bytes += other.left_out_bytes;
    }

    /// Bytes that tensor data is aligned to: `general.alignment`, 32 without one, `None` where it
    /// is not a `u32` that is a power of two up to 2^20.
    pub fn alignment(&self) -> Option<u64> {
        match self.get("general.alignment") {
            None => Some(DEFAULT_ALIGNMENT),
            Some(&Value::U32(a)) if a.is_power_of_two() && a <= 1 << 20 => Some(a.into()),
            Some(_) => None,
        }
    }

    /// Replaces the value under `key`, or appends it.
    pub fn set(&mut self, key: impl Into<Name>, value: Value) {
        let key = key.into();
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Removes the value under `key` and returns it.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.iter().position(|(k, _)| *k == *key)?;
        Some(self.entries.remove(at).1)
    }

    /// All pairs in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries().map(|(k, v)| (k.as_str(), v))
    }

    /// All pairs in file order, with keys that need be no UTF-8.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> {
        self.entries.iter().map(|(k, v)| (k, v))
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match *self.get(key)? {
            Value::Bool(v) => Some(v),
            Value::RawBool(v) => Some(v != 0),
            _ => None,
        }
    }

    /// A string value.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// Any unsigned or non-negative integer value.
    pub fn u64(&self, key: &str) -> Option<u64> {
        match *self.get(key)? {
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => Some(v),
            Value::I8(v) => v.try_into().ok(),
            Value::I16(v) => v.try_into().ok(),
            Value::I32(v) => v.try_into().ok(),
            Value::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The longest text that the model reads, in tokens: `context_length` of its architecture.
    pub fn context_length(&self) -> Option<u64> {
        self.u64(&format!("{}.context_length", self.str("general.architecture")?))
    }

    /// A floating-point value.
    pub fn f32(&self, key: &str) -> Option<f32> {
        match *self.get(key)? {
            Value::F32(v) => Some(v),
            Value::F64(v) => Some(v as f32),
            _ => None,
        }
    }
}
