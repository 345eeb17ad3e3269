//! Reads a GGUF file's header and holds everything it says against the file before it is believed.
//! Knows nothing of what tensors mean.

use std::collections::HashSet;
use std::ops::Range;

use camino::Utf8Path;

use super::cursor::Cursor;
use super::values::{Keep, read_metadata};
use super::{Error, Metadata, Name, TensorInfo};
use crate::downloads::StandIn;
use crate::ggml::StoredType;

/// Longest tensor name, in bytes: ggml's `GGML_MAX_NAME` less its terminator.
pub const MAX_NAME: usize = 63;

/// What alignments there are.
pub(super) const ALIGNMENT: &str = "an unsigned 32-bit integer that is a power of two up to 2^20";

/// The alignment of `metadata`, in an error.
pub(super) fn found(metadata: &Metadata) -> String {
    metadata.get("general.alignment").map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// Most dimensions of a tensor.
const MAX_DIMS: u32 = 4;

/// What a file's header says, checked.
pub(super) struct Header {
    pub version: u32,
    pub alignment: u64,
    pub metadata: Metadata,
    pub tensors: Vec<TensorInfo>,
    pub ranges: Vec<Range<usize>>,
    pub data_start: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, which are the whole file at `path`.
    pub fn read(path: &Utf8Path, bytes: &[u8], keep: Keep) -> Result<Self, Error> {
        let mut cursor = Cursor::new(path, bytes);
        let version = read_version(path, bytes, &mut cursor)?;
        // The least a tensor takes: name length, dimension count, one dimension, type, offset.
        let tensor_count = cursor.count(8 + 4 + 8 + 4 + 8, "the number of tensors")?;
        // The least a pair takes: key length, type, one byte of value.
        let pair_count = cursor.count(8 + 4 + 1, "the number of metadata pairs")?;
        let metadata = read_metadata(&mut cursor, pair_count, keep)?;
        let alignment = metadata.alignment().ok_or_else(|| {
            cursor.damaged(
                cursor.offset(),
                "general.alignment, read before this point,",
                ALIGNMENT.into(),
                found(&metadata),
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
        extend(&mut tensors, &offsets, data_start, bytes.len() as u64);
        let ranges = place(path, bytes.len(), data_start, alignment, &tensors, &offsets)?;
        Ok(Self { version, alignment, metadata, tensors, ranges, data_start })
    }
}

fn read_version(path: &Utf8Path, bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    if !bytes.starts_with(b"GGUF") {
        let start = &bytes[..bytes.len().min(4)];
        let found = if start.is_empty() {
            "an empty file".to_owned()
        } else if let Some(other) = StandIn::of(bytes) {
            other.to_string()
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

/// One tensor's description and the offset of its data in the data section.
fn read_tensor(path: &Utf8Path, cursor: &mut Cursor<'_>) -> Result<(TensorInfo, u64), Error> {
    let start = cursor.offset();
    let name = cursor.string("a tensor's name")?;
    if name.len() > MAX_NAME {
        return Err(cursor.damaged(
            start,
            "a tensor's name",
            format!("at most {MAX_NAME} bytes"),
            format!("{} bytes", name.len()),
        ));
    }
    let name = Name::from_bytes(name);
    let wrong = |expected: String, found: String| Error::Tensor {
        path: path.to_owned(),
        tensor: name.to_string(),
        expected,
        found,
    };

    let dims = cursor.u32("a tensor's number of dimensions")?;
    if dims > MAX_DIMS {
        return Err(wrong(format!("at most {MAX_DIMS} dimensions"), dims.to_string()));
    }
    let mut shape = (0..dims)
        .map(|_| cursor.u64("a tensor's dimension"))
        .collect::<Result<Vec<u64>, Error>>()?;
    if shape.is_empty() {
        // One weight, as llama.cpp takes it.
        shape.push(1);
    }

    let ggml_type = StoredType::from_id(cursor.u32("a tensor's type")?);
    if shape[0] % ggml_type.block_size() as u64 != 0 {
        return Err(wrong(
            format!("rows of a multiple of {} for {ggml_type}", ggml_type.block_size()),
            format!("{} columns", shape[0]),
        ));
    }
    // With the byte count in range every product a `TensorInfo` makes is.
    let elements = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let bytes = elements.and_then(|n| n.checked_mul(ggml_type.block_bytes() as u64));
    let longest = shape.iter().max().copied().unwrap_or(0);
    if bytes.is_none_or(|b| b.max(longest) > i64::MAX as u64) {
        return Err(wrong("a size below 2^63 bytes".into(), format!("dimensions {shape:?}")));
    }
    let offset = cursor.u64("a tensor's offset")?;
    Ok((TensorInfo::new(name, ggml_type, shape), offset))
}

/// Gives tensors of types of which nothing is known the bytes up to the next tensor or the end of the
/// file, whose data section starts at `data_start`: all that may be theirs.
fn extend(tensors: &mut [TensorInfo], offsets: &[u64], data_start: u64, file_bytes: u64) {
    let mut starts = offsets.to_vec();
    starts.sort_unstable();
    for (info, offset) in tensors.iter_mut().zip(offsets) {
        if matches!(info.ggml_type, StoredType::Unknown(_)) && !info.is_empty() {
            let next = starts.get(starts.partition_point(|start| start <= offset));
            let end = next.copied().unwrap_or(file_bytes.saturating_sub(data_start));
            // Nothing at all is not enough for a weight.
            info.extent = end.saturating_sub(*offset).max(1);
        }
    }
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
            tensor: info.name.to_string(),
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
    order.sort_by_key(|&i| (ranges[i].start, ranges[i].end));
    for pair in order.windows(2) {
        let (first, second) = (&ranges[pair[0]], &ranges[pair[1]]);
        if second.start < first.end {
            return Err(Error::Tensor {
                path: path.to_owned(),
                tensor: tensors[pair[1]].name.to_string(),
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
