//! Reads the key-value pairs of a GGUF header.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::{Array, Error, Metadata, Name, Value};

/// Longest metadata key, in bytes.
const MAX_KEY: usize = u16::MAX as usize;

/// Elements of the longest array that an outline keeps.
const LONGEST: usize = 1024;

/// What of the pairs is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    /// All but long arrays, of which the length counts.
    Outline,
}

/// The `count` key-value pairs that follow.
pub(super) fn read_metadata(
    cursor: &mut Cursor<'_>,
    count: usize,
    keep: Keep,
) -> Result<Metadata, Error> {
    let mut metadata = Metadata::default();
    let mut keys = HashSet::new();
    for _ in 0..count {
        let start = cursor.offset();
        let key = cursor.string("a metadata key")?;
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(cursor.damaged(
                start,
                "a metadata key",
                format!("1 to {MAX_KEY} bytes"),
                format!("{} bytes", key.len()),
            ));
        }
        let new = keys.insert(key);
        let key = Name::from_bytes(key);
        if !new {
            return Err(cursor.damaged(
                start,
                "a metadata key",
                "every key once".into(),
                format!("{key} again"),
            ));
        }
        if keep == Keep::Outline
            && let Some((len, bytes)) = skip_long_array(cursor)?
        {
            metadata.leave_out_array(key, len, bytes);
            continue;
        }
        let value = read_value(cursor, &key)?;
        metadata.push(key, value);
    }
    Ok(metadata)
}

/// Goes behind the value that follows if it is a long array; with the number and the bytes of its elements.
fn skip_long_array(cursor: &mut Cursor<'_>) -> Result<Option<(usize, u64)>, Error> {
    let mut ahead = cursor.clone();
    if ahead.u32("a metadata value's type")? != 9 {
        return Ok(None);
    }
    let (is_text, element_bytes) = match ahead.u32("an array's element type")? {
        0 | 1 | 7 => (false, 1),
        2 | 3 => (false, 2),
        4..=6 => (false, 4),
        10..=12 => (false, 8),
        // Its length, at least.
        8 => (true, 8),
        // An error, which is told where values are read.
        _ => return Ok(None),
    };
    let count = ahead.count(element_bytes, LENGTH)?;
    if count <= LONGEST {
        return Ok(None);
    }
    let start = ahead.offset();
    if is_text {
        for _ in 0..count {
            ahead.string(ELEMENT)?;
        }
    } else {
        ahead.take(count * element_bytes, ELEMENT)?;
    }
    *cursor = ahead;
    Ok(Some((count, (cursor.offset() - start) as u64)))
}

const LENGTH: &str = "an array's length";
const ELEMENT: &str = "an array element";

fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, Error> {
    let start = cursor.offset();
    const WHAT: &str = "a metadata value";
    Ok(match cursor.u32("a metadata value's type")? {
        0 => Value::U8(cursor.array::<1>(WHAT)?[0]),
        1 => Value::I8(i8::from_le_bytes(cursor.array(WHAT)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.array(WHAT)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.array(WHAT)?)),
        4 => Value::U32(cursor.u32(WHAT)?),
        5 => Value::I32(i32::from_le_bytes(cursor.array(WHAT)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.array(WHAT)?)),
        7 => match cursor.array::<1>(WHAT)?[0] {
            byte @ (0 | 1) => Value::Bool(byte == 1),
            byte => Value::RawBool(byte),
        },
        8 => {
            let bytes = cursor.string(WHAT)?;
            let text = std::str::from_utf8(bytes);
            text.map_or_else(|_| Value::RawString(bytes.into()), |s| Value::String(s.to_owned()))
        }
        9 => Value::Array(read_array(cursor, key)?),
        10 => Value::U64(cursor.u64(WHAT)?),
        11 => Value::I64(i64::from_le_bytes(cursor.array(WHAT)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.array(WHAT)?)),
        other => {
            return Err(cursor.damaged(
                start,
                format!("the type of {key}"),
                "a value type from 0 to 12".into(),
                other.to_string(),
            ));
        }
    })
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, Error> {
    /// `n` fixed-size elements.
    fn fixed<const N: usize, T>(
        cursor: &mut Cursor<'_>,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Error> {
        let count = cursor.count(N, LENGTH)?;
        (0..count).map(|_| Ok(decode(cursor.array(ELEMENT)?))).collect()
    }

    fn strings(cursor: &mut Cursor<'_>) -> Result<Array, Error> {
        let count = cursor.count(8, LENGTH)?;
        let mut texts = Vec::with_capacity(count);
        let mut raw: Vec<Vec<u8>> = Vec::new();
        for _ in 0..count {
            let bytes = cursor.string(ELEMENT)?;
            match std::str::from_utf8(bytes) {
                Ok(text) if raw.is_empty() => texts.push(text.to_owned()),
                _ => {
                    raw.extend(texts.drain(..).map(String::into_bytes));
                    raw.push(bytes.into());
                }
            }
        }
        Ok(if raw.is_empty() { Array::String(texts) } else { Array::RawString(raw) })
    }

    let start = cursor.offset();
    Ok(match cursor.u32("an array's element type")? {
        0 => Array::U8(fixed(cursor, u8::from_le_bytes)?),
        1 => Array::I8(fixed(cursor, i8::from_le_bytes)?),
        2 => Array::U16(fixed(cursor, u16::from_le_bytes)?),
        3 => Array::I16(fixed(cursor, i16::from_le_bytes)?),
        4 => Array::U32(fixed(cursor, u32::from_le_bytes)?),
        5 => Array::I32(fixed(cursor, i32::from_le_bytes)?),
        6 => Array::F32(fixed(cursor, f32::from_le_bytes)?),
        7 => {
            let count = cursor.count(1, LENGTH)?;
            let bytes = cursor.take(count, ELEMENT)?;
            match bytes.iter().all(|byte| matches!(byte, 0 | 1)) {
                true => Array::Bool(bytes.iter().map(|&byte| byte == 1).collect()),
                false => Array::RawBool(bytes.into()),
            }
        }
        8 => strings(cursor)?,
        10 => Array::U64(fixed(cursor, u64::from_le_bytes)?),
        11 => Array::I64(fixed(cursor, i64::from_le_bytes)?),
        12 => Array::F64(fixed(cursor, f64::from_le_bytes)?),
        other => {
            return Err(cursor.damaged(
                start,
                format!("the element type of {key}"),
                "a value type from 0 to 12 other than 9 (arrays of arrays are not supported)"
                    .into(),
                other.to_string(),
            ));
        }
    })
}
