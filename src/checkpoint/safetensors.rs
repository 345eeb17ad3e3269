//! One safetensors file, mapped, with everything its header says held against the file.
//!
//! Format: an 8-byte little-endian length, a JSON header of that length, the data. The crate
//! `safetensors` gives the types of the header; the checks are here, since errors must name the
//! tensor, the bytes and the file.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::Error;
use crate::downloads::{ReadError, StandIn, text_instead};
use crate::files::Map;

/// Longest header that is read, in bytes; the same as in the `safetensors` crate.
const MAX_HEADER: u64 = 100_000_000;

/// A mapped safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile {
    pub path: Utf8PathBuf,
    pub map: Map,
    pub tensors: Vec<Entry>,
}

/// One tensor of a file.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub dtype: Dtype,
    /// Dimensions, slowest first.
    pub shape: Vec<usize>,
    /// Where its data is in the file.
    pub range: Range<usize>,
}

impl SafetensorsFile {
    /// Opens and checks the file at `path`.
    ///
    /// # Errors
    /// If it cannot be mapped, its header does not parse or is too long, a tensor's shape and type
    /// disagree with its length, tensors overlap, leave gaps or do not end where the file does.
    pub fn open(path: &Utf8Path) -> Result<Self, Error> {
        let map = Map::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let tensors = read_header(path, &map)?;
        Ok(Self { path: path.to_owned(), map, tensors })
    }
}

fn read_header(path: &Utf8Path, bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let truncated = |expected: u64| Error::Truncated {
        path: path.to_owned(),
        actual: bytes.len() as u64,
        expected,
    };
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(truncated(8));
    };
    let length = u64::from_le_bytes(*length);
    if let Some(what) = StandIn::of(bytes) {
        return Err(ReadError::StandIn { path: path.to_owned(), what }.into());
    }
    if length > MAX_HEADER {
        if let Some(text) = text_instead(bytes) {
            return Err(Error::Damaged {
                path: path.to_owned(),
                what: "its header".into(),
                expected: "a safetensors file".into(),
                found: format!("text that begins with {text:?}; download it again"),
            });
        }
        return Err(Error::Damaged {
            path: path.to_owned(),
            what: "the length of the header, its first 8 bytes".into(),
            expected: format!("at most {MAX_HEADER}"),
            found: length.to_string(),
        });
    }
    if length > rest.len() as u64 {
        return Err(truncated(8 + length));
    }
    let (header, data) = rest.split_at(length as usize);
    let header: Header = serde_json::from_slice(header).map_err(|source| Error::Json {
        path: path.to_owned(),
        what: "the header",
        source,
    })?;
    place(path, 8 + length as usize, data.len(), header.0)
}

/// Checks sizes and places, and turns offsets in the data section into offsets in the file.
fn place(
    path: &Utf8Path,
    data_start: usize,
    data_bytes: usize,
    tensors: Vec<(String, TensorInfo)>,
) -> Result<Vec<Entry>, Error> {
    let mut names = HashSet::new();
    let mut data_end = 0;
    for (name, info) in &tensors {
        let wrong = |expected: String, found: String| Error::Tensor {
            path: path.to_owned(),
            tensor: name.clone(),
            expected,
            found,
        };
        if !names.insert(name.as_str()) {
            return Err(wrong("every name once".into(), "a second entry".into()));
        }
        let (start, end) = info.data_offsets;
        if start > end {
            return Err(wrong("offsets in order".into(), format!("{start} to {end}")));
        }
        let bits = info
            .shape
            .iter()
            .try_fold(info.dtype.bitsize(), |n, &d| n.checked_mul(d))
            .filter(|bits| bits.is_multiple_of(8));
        if bits.map(|b| b / 8) != Some(end - start) {
            return Err(wrong(
                match bits {
                    Some(bits) => format!("{} bytes for its shape", bits / 8),
                    None => "a shape that is a whole number of bytes".into(),
                },
                format!("{:?} {:?} in {} bytes", info.dtype, info.shape, end - start),
            ));
        }
        data_end = data_end.max(end);
    }
    if data_end > data_bytes {
        return Err(Error::Truncated {
            path: path.to_owned(),
            actual: (data_start + data_bytes) as u64,
            expected: (data_start as u64).saturating_add(data_end as u64),
        });
    }

    let mut entries: Vec<Entry> = tensors
        .into_iter()
        .map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let range = data_start + start..data_start + end;
            Entry { name, dtype: info.dtype, shape: info.shape, range }
        })
        .collect();
    entries.sort_by_key(|e| (e.range.start, e.range.end));
    let mut end = data_start;
    let mut previous = "the header";
    for entry in &entries {
        if entry.range.start != end {
            let problem = if entry.range.start < end { "overlaps" } else { "leaves a gap after" };
            return Err(Error::Tensor {
                path: path.to_owned(),
                tensor: entry.name.clone(),
                expected: format!("data from byte {end}, where {previous} ends"),
                found: format!("byte {}, which {problem} it", entry.range.start),
            });
        }
        end = entry.range.end;
        previous = &entry.name;
    }
    if end != data_start + data_bytes {
        return Err(Error::Damaged {
            path: path.to_owned(),
            what: "its length".into(),
            expected: format!("{end} bytes, where {previous} ends"),
            found: format!("{} bytes", data_start + data_bytes),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The JSON header; a list, so that a name that occurs twice is seen.
struct Header(Vec<(String, TensorInfo)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut tensors = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<HashMap<String, String>>()?;
                        continue;
                    }
                    let info = map
                        .next_value::<TensorInfo>()
                        .map_err(|e| A::Error::custom(format!("tensor {name}: {e}")))?;
                    tensors.push((name, info));
                }
                Ok(Header(tensors))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_read_or_refused_without_a_panic() {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 11]);
        let path = Utf8Path::new("x.safetensors");
        assert_eq!(read_header(path, &bytes).unwrap().len(), 2);
        for i in 0..8 + header.len() {
            for value in [0x00, b'"', b'0', b'9', b'[', b'}', 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[i] = value;
                if let Ok(entries) = read_header(path, &changed) {
                    assert!(entries.iter().all(|e| e.range.end <= bytes.len()));
                }
            }
        }
        for n in 0..bytes.len() {
            assert!(read_header(path, &bytes[..n]).is_err(), "{n} bytes");
        }
    }
}
