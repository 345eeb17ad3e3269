//! Opens a GGUF file: maps it, reads its header, and holds everything the header says against the
//! file before it is believed. Knows nothing of what tensors mean.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::cursor::Cursor;
use super::map::Map;
use super::{Array, Error, Metadata, SourceError, TensorInfo, TensorSource, Value};
use crate::ggml::GgmlType;

/// Longest tensor name, in bytes: ggml's `GGML_MAX_NAME` less its terminator.
pub const MAX_NAME: usize = 63;

/// Longest metadata key, in bytes.
const MAX_KEY: usize = u16::MAX as usize;

/// Most dimensions of a tensor.
const MAX_DIMS: u32 = 4;

/// An open GGUF file, memory-mapped.
#[derive(Debug)]
pub struct File {
    path: Utf8PathBuf,
    map: Map,
    version: u32,
    alignment: u64,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    /// Where each tensor's data is in the file.
    ranges: Vec<Range<usize>>,
    by_name: HashMap<String, usize>,
    data_start: u64,
}

impl File {
    /// Opens the file at `path` and checks its whole header: magic, version, counts, strings,
    /// duplicate keys and names, shapes, types, block sizes, and that every tensor's data is
    /// aligned, inside the file and disjoint from the others'.
    ///
    /// # Errors
    /// Whatever of that does not hold, with the offset, what was expected and what was found.
    pub fn open(path: impl AsRef<Utf8Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let map = Map::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let header = Header::read(path, &map)?;
        let Header { version, alignment, metadata, tensors, ranges, data_start } = header;
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            version,
            alignment,
            metadata,
            tensors,
            ranges,
            by_name,
            data_start,
        })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Bytes that tensor data is aligned to; a power of two, at least 8.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Where the data section starts in the file.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Where tensor number `tensor` has its data in the file, in bytes.
    pub fn range(&self, tensor: usize) -> Range<usize> {
        self.ranges[tensor].clone()
    }

    /// The bytes of tensor number `tensor`, in place, aligned to [`File::alignment`].
    pub fn data(&self, tensor: usize) -> &[u8] {
        &self.map[self.ranges[tensor].clone()]
    }
}

impl TensorSource for File {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read_rows(
        &self,
        tensor: usize,
        rows: Range<usize>,
        out: &mut [u8],
    ) -> Result<(), SourceError> {
        let info = &self.tensors[tensor];
        let row_bytes = info.row_bytes();
        if rows.start > rows.end || rows.end > info.rows() || out.len() != rows.len() * row_bytes {
            return Err(SourceError {
                tensor: info.name.clone(),
                reason: format!(
                    "rows {rows:?} into {} bytes were asked for, it has {} rows of {row_bytes} bytes",
                    out.len(),
                    info.rows()
                ),
            });
        }
        let data = self.data(tensor);
        out.copy_from_slice(&data[rows.start * row_bytes..rows.end * row_bytes]);
        Ok(())
    }

    fn bytes(&self, tensor: usize) -> Option<&[u8]> {
        Some(self.data(tensor))
    }

    fn release(&self, tensor: usize) {
        self.map.release(self.range(tensor));
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

/// What a file's header says, checked.
struct Header {
    version: u32,
    alignment: u64,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    ranges: Vec<Range<usize>>,
    data_start: u64,
}

impl Header {
    fn read(path: &Utf8Path, bytes: &[u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(path, bytes);
        let version = read_version(path, bytes, &mut cursor)?;
        // The least a tensor takes: name length, dimension count, one dimension, type, offset.
        let tensor_count = cursor.count(8 + 4 + 8 + 4 + 8, "the number of tensors")?;
        // The least a pair takes: key length, type, one byte of value.
        let pair_count = cursor.count(8 + 4 + 1, "the number of metadata pairs")?;
        let metadata = read_metadata(&mut cursor, pair_count)?;
        let alignment = metadata.alignment().ok_or_else(|| {
            cursor.damaged(
                cursor.offset(),
                "general.alignment, read before this point,",
                "a u32 that is a power of two from 8 to 2^20".into(),
                format!("{:?}", metadata.get("general.alignment")),
            )
        })?;

        let mut tensors = Vec::new();
        let mut offsets = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..tensor_count {
            let start = cursor.offset();
            let (info, offset) = read_tensor(path, &mut cursor)?;
            if !names.insert(info.name.clone()) {
                return Err(cursor.damaged(
                    start,
                    "a tensor's name",
                    "every name once".into(),
                    format!("{} again", info.name),
                ));
            }
            tensors.push(info);
            offsets.push(offset);
        }
        let data_start = (cursor.offset() as u64).next_multiple_of(alignment);
        let ranges = place(path, bytes.len(), data_start, alignment, &tensors, &offsets)?;
        Ok(Self { version, alignment, metadata, tensors, ranges, data_start })
    }
}

fn read_version(path: &Utf8Path, bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    if !bytes.starts_with(b"GGUF") {
        let start = &bytes[..bytes.len().min(4)];
        let found = if start.is_empty() {
            "an empty file".to_owned()
        } else {
            format!("\"{}\"", start.escape_ascii())
        };
        return Err(Error::NotGguf { path: path.to_owned(), found });
    }
    cursor.take(4, "the magic")?;
    let version = cursor.u32("the version")?;
    if !matches!(version, 2 | 3) {
        let hint = if matches!(version.swap_bytes(), 1..=3) {
            "; it is a big-endian file, which is not supported: convert it on the machine it is for"
        } else if version == 1 {
            "; convert the checkpoint again with a program from after August 2023"
        } else {
            ""
        };
        return Err(Error::Version { path: path.to_owned(), found: version, hint });
    }
    Ok(version)
}

fn read_metadata(cursor: &mut Cursor<'_>, count: usize) -> Result<Metadata, Error> {
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

/// One tensor's description and the offset of its data in the data section.
fn read_tensor(path: &Utf8Path, cursor: &mut Cursor<'_>) -> Result<(TensorInfo, u64), Error> {
    let start = cursor.offset();
    let name = cursor.string("a tensor's name")?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(cursor.damaged(
            start,
            "a tensor's name",
            format!("1 to {MAX_NAME} bytes"),
            format!("{} bytes", name.len()),
        ));
    }
    let wrong = |expected: String, found: String| Error::Tensor {
        path: path.to_owned(),
        tensor: name.to_owned(),
        expected,
        found,
    };

    let dims = cursor.u32("a tensor's number of dimensions")?;
    if !(1..=MAX_DIMS).contains(&dims) {
        return Err(wrong(format!("1 to {MAX_DIMS} dimensions"), dims.to_string()));
    }
    let shape = (0..dims)
        .map(|_| cursor.u64("a tensor's dimension"))
        .collect::<Result<Vec<u64>, Error>>()?;
    if shape.contains(&0) {
        return Err(wrong("dimensions of at least 1".into(), format!("{shape:?}")));
    }

    let id = cursor.u32("a tensor's type")?;
    let Some(ggml_type) = GgmlType::from_id(id) else {
        let known: Vec<_> = GgmlType::ALL.iter().map(|t| format!("{} {t}", *t as u32)).collect();
        return Err(wrong(
            format!("one of the supported types ({})", known.join(", ")),
            format!("type {id}"),
        ));
    };
    if shape[0] % ggml_type.block_size() as u64 != 0 {
        return Err(wrong(
            format!("rows of a multiple of {} for {ggml_type}", ggml_type.block_size()),
            format!("{} columns", shape[0]),
        ));
    }
    // With the byte count in range every product a `TensorInfo` makes is.
    let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let bytes = elements.and_then(|n| n.checked_mul(ggml_type.block_bytes() as u64));
    if bytes.is_none_or(|b| b > i64::MAX as u64) {
        return Err(wrong("a size below 2^63 bytes".into(), format!("dimensions {shape:?}")));
    }
    let offset = cursor.u64("a tensor's offset")?;
    Ok((TensorInfo { name: name.to_owned(), ggml_type, shape }, offset))
}

/// Where each tensor's data is in the file: aligned, inside the file, disjoint.
fn place(
    path: &Utf8Path,
    file_bytes: usize,
    data_start: u64,
    alignment: u64,
    tensors: &[TensorInfo],
    offsets: &[u64],
) -> Result<Vec<Range<usize>>, Error> {
    let mut ranges = Vec::with_capacity(tensors.len());
    // The tensor that reaches furthest, for the error's sake.
    let mut furthest: Option<(u64, &str)> = None;
    for (info, &offset) in tensors.iter().zip(offsets) {
        let wrong = |expected: &str| Error::Tensor {
            path: path.to_owned(),
            tensor: info.name.clone(),
            expected: expected.to_owned(),
            found: format!("offset {offset}"),
        };
        if offset % alignment != 0 {
            return Err(wrong(&format!("an offset that is a multiple of {alignment}")));
        }
        let start = data_start.checked_add(offset);
        let end = start.and_then(|s| s.checked_add(info.bytes())).filter(|&e| e <= i64::MAX as u64);
        let (Some(start), Some(end)) = (start, end) else {
            return Err(wrong("data that ends below 2^63 bytes"));
        };
        if furthest.is_none_or(|(e, _)| end > e) {
            furthest = Some((end, &info.name));
        }
        ranges.push(start as usize..end as usize);
    }
    if let Some((expected, tensor)) = furthest
        && expected > file_bytes as u64
    {
        return Err(Error::DataTruncated {
            path: path.to_owned(),
            actual: file_bytes as u64,
            expected,
            tensor: tensor.to_owned(),
        });
    }

    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&i| ranges[i].start);
    for pair in order.windows(2) {
        let (first, second) = (&ranges[pair[0]], &ranges[pair[1]]);
        if second.start < first.end {
            return Err(Error::Tensor {
                path: path.to_owned(),
                tensor: tensors[pair[1]].name.clone(),
                expected: format!(
                    "data after tensor {}, which ends at byte {}",
                    tensors[pair[0]].name, first.end
                ),
                found: format!("data from byte {}", second.start),
            });
        }
    }
    Ok(ranges)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
