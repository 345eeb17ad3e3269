//! Reads the key-value pairs of a GGUF header.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::{Array, Error, Metadata, Value};

/// Longest metadata key, in bytes.
const MAX_KEY: usize = u16::MAX as usize;

/// The `count` key-value pairs that follow.
pub(super) fn read_metadata(cursor: &mut Cursor<'_>, count: usize) -> Result<Metadata, Error> {
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
        if !keys.insert(key) {
            return Err(cursor.damaged(
                start,
                "a metadata key",
                "every key once".into(),
                format!("{key} again"),
            ));
        }
        let value = read_value(cursor, key)?;
        metadata.push(key, value);
    }
    Ok(metadata)
}

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
        7 => Value::Bool(read_bool(cursor, key)?),
        8 => Value::String(cursor.string(WHAT)?.to_owned()),
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

fn read_bool(cursor: &mut Cursor<'_>, key: &str) -> Result<bool, Error> {
    let start = cursor.offset();
    match cursor.array::<1>("a truth value")?[0] {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(cursor.damaged(
            start,
            format!("a truth value of {key}"),
            "0 or 1".into(),
            other.to_string(),
        )),
    }
}

fn read_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, Error> {
    /// `n` fixed-size elements.
    fn fixed<const N: usize, T>(
        cursor: &mut Cursor<'_>,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Error> {
        let count = cursor.count(N, "an array's length")?;
        (0..count).map(|_| Ok(decode(cursor.array("an array element")?))).collect()
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
            let count = cursor.count(1, "an array's length")?;
            Array::Bool((0..count).map(|_| read_bool(cursor, key)).collect::<Result<_, _>>()?)
        }
        8 => {
            let count = cursor.count(8, "an array's length")?;
            let element = |_| Ok(cursor.string("an array element")?.to_owned());
            Array::String((0..count).map(element).collect::<Result<_, Error>>()?)
        }
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
